import { expect } from '@jest/globals';
import * as fc from 'fast-check';
import { toContextRecord } from '../../producers/reading/context.ts';
import { CONTEXTS, SHORT_TERM_LIMIT } from './bench.ts';
import { always, command, type ModelCommand, pick } from './command.ts';
import { comparePages, expectRecords } from './compare.ts';
import { flushAll } from './flushing.ts';
import type { Model, ModelRecord } from './model.ts';
import { tokensOf } from './texts.ts';

const contextId = fc.constantFrom(...CONTEXTS);
const limit = fc.integer({ min: 1, max: 6 });
const at = fc.constantFrom<('before' | 'after')[]>('before', 'after');

/** While somebody refills a conversation, a reader waits up to two seconds for that. A run has no time for it. */
function isFree(model: Readonly<Model>, { contextId }: { contextId: string }): boolean {
  return !model.refilling.has(contextId);
}

const readRecent = command(
  'readRecent',
  fc.record({
    contextId,
    limit: fc.option(limit, { nil: undefined }),
    maxTokens: fc.option(fc.integer({ min: 1, max: 120 })),
  }),
  isFree,
  async (model, bench, { contextId, limit, maxTokens }) => {
    const asked = { ...(limit !== undefined && { limit }), ...(maxTokens !== null && { maxTokens }) };
    const { items, complete } = await bench.stack.memory.loadRecentContext(contextId, asked);
    expect(complete).toBe(true);
    expectRecords(
      items,
      newest(model, contextId, limit ?? (maxTokens === null ? SHORT_TERM_LIMIT : 1000), maxTokens ?? Infinity),
    );
  },
);

function newest(model: Model, contextId: string, limit: number, maxTokens: number): ModelRecord[] {
  let left = maxTokens;
  const all = model.conversation(contextId).slice(-limit);
  const tooMany = all.findLastIndex(({ text }) => (left -= tokensOf(text)) < 0);
  return all.slice(tooMany + 1);
}

const readPages = command('readPages', fc.record({ contextId, limit }), always, (model, bench, { contextId, limit }) =>
  comparePages(model, bench, contextId, limit),
);

/** Everything is committed and the cache expires while a reader is between Redis and Supabase, or has just read Supabase. */
const readWhileFlushed = command(
  'readWhileFlushedAndExpired',
  fc.record({ contextId, limit, at, recent: fc.boolean() }),
  (model, choice) => isFree(model, choice) && model.hasUncommitted(choice.contextId),
  async (model, bench, { contextId, limit, at, recent }) => {
    const reader = bench.interruptedReader(at, async () => {
      await flushAll(model, bench, 4);
      await bench.expire(contextId);
    });
    const { records } = recent
      ? await reader.recent({ contextId, limit, userId: undefined, allowPartial: false })
      : await reader.after({ contextId, limit, userId: undefined, allowPartial: false }, null);
    const all = model.conversation(contextId);
    const told = records.map((record) => toContextRecord(record, bench.parts.keyring));
    expectRecords(told, recent ? all.slice(-limit) : all.slice(0, limit));
  },
);

const beginRefill = command(
  'beginRefill',
  fc.record({ contextId, readNow: fc.boolean() }),
  isFree,
  async (model, bench, { contextId, readNow }) => {
    if (await bench.beginRefill(contextId, readNow)) model.refilling.add(contextId);
  },
);

const endRefill = command(
  'endRefill',
  fc.record({ contextId }),
  (model, choice) => !isFree(model, choice),
  async (model, bench, { contextId }) => {
    await bench.endRefill(contextId);
    model.refilling.delete(contextId);
  },
);

const expire = command('expire', fc.record({ contextId }), always, (_, bench, { contextId }) =>
  bench.expire(contextId),
);

/** Does what a worker does when Redis is nearly full: it drops every cache of which Supabase has everything. */
const makeRoom = command('makeRoom', fc.constant(null), always, async (_, bench) => {
  await Array.fromAsync(bench.parts.shortTerm.dropCommitted(100));
});

const askStatus = command(
  'askStatus',
  fc.nat({ max: 1000 }),
  (model) => model.records.size > 0,
  async (model, bench, number) => {
    const record = pick([...model.records.values()], number);
    const { status } = await bench.stack.memory.getStatus(record.id);
    expect(statusesOf(record)).toContain(status);
  },
);

function statusesOf({ quarantined, pending, row, queued, job, remembered }: ModelRecord): string[] {
  if (quarantined) return ['quarantined'];
  if (pending) return ['cached'];
  if (row && job === null) return ['pinned'];
  // It was saved once more after the queue had forgotten it, so it waits in the queue as well.
  if (row && queued) return ['committed', 'queued'];
  if (row) return ['committed'];
  expect(remembered).toBe(false);
  return ['queued'];
}

/** The steps by which records are read and caches change, and how often each is chosen beside the others. */
export const READING: [weight: number, step: fc.Arbitrary<ModelCommand>][] = [
  [3, readRecent],
  [1, readPages],
  [4, readWhileFlushed],
  [2, beginRefill],
  [2, endRefill],
  [3, expire],
  [1, makeRoom],
  [1, askStatus],
];
