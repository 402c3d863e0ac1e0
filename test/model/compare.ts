import { expect } from '@jest/globals';
import type { ContextRecord } from '../../producers/index.ts';
import { decodeTokens } from '../../shared/records/tokens.ts';
import { type Bench, CONTEXTS, SHORT_TERM_LIMIT } from './bench.ts';
import { type Model, type ModelRecord, toMicroseconds } from './model.ts';

/**
 * Checks everything that must be true after every step, and changes nothing. `loadRecentContext` would refill the cache each
 * time and so hide every fault that needs an empty cache; therefore it is a step of its own. Here the cache is only asked
 * whether its newest records are certainly the newest, and if it says so, that must be true.
 */
export async function compare(model: Model, bench: Bench): Promise<void> {
  model.steps += 1;
  await compareStores(model, bench);
  for (const contextId of CONTEXTS) {
    await compareTimeToLive(model, bench, contextId);
    if (model.conversation(contextId).length === 0) continue;
    await comparePages(model, bench, contextId, 2 + (model.steps % 4));
    await compareCache(model, bench, contextId);
  }
}

async function compareStores(model: Model, bench: Bench): Promise<void> {
  const [seen, rows] = await Promise.all([bench.pending(), bench.rows()]);
  expect(rows.map(({ id }) => id).toSorted()).toEqual(model.idsWhere(({ row }) => row));
  for (const { id, context_id, created_at, tokens } of rows) {
    const { contextId, createdAt, text } = model.find(id);
    expect({ context_id, createdAt: toMicroseconds(created_at), text: texts(decodeTokens(tokens)) }).toEqual({
      context_id: contextId,
      createdAt: toMicroseconds(createdAt),
      text: Object.values(text),
    });
  }
  const pending = model.idsWhere((record) => record.pending);
  expect(seen.toSorted()).toEqual(pending);
  const { pendingQueueLength, quarantined } = await bench.stack.memory.getStats();
  expect({ pendingQueueLength, quarantined }).toEqual({
    pendingQueueLength: pending.length,
    quarantined: model.where((record) => record.quarantined).length,
  });
  expect(await bench.stranded()).toEqual([]);
}

async function compareTimeToLive(model: Model, bench: Bench, contextId: string): Promise<void> {
  const expected = model.hasUncommitted(contextId) ? [-1, -1] : [expect.any(Number), expect.any(Number)];
  const left = await bench.timeToLive(contextId);
  expect(left).toEqual(expected);
  if (!model.hasUncommitted(contextId)) expect(left).not.toContain(-1);
}

/** Reads the whole conversation page by page: each record comes once, in order, with its text. */
export async function comparePages(model: Model, bench: Bench, contextId: string, limit: number): Promise<void> {
  const read: ContextRecord[] = [];
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await bench.stack.memory.getMemoryContext(contextId, { limit, ...(cursor && { cursor }) });
    expect(page.complete).toBe(true);
    read.push(...page.items);
    cursor = page.nextCursor;
  }
  expectRecords(read, model.conversation(contextId));
}

/** What the cache calls complete is the newest there is, and it keeps no more committed records than it may. */
async function compareCache(model: Model, bench: Bench, contextId: string): Promise<void> {
  const all = model.conversation(contextId).map(({ id }) => id);
  for (let limit = 1; limit <= SHORT_TERM_LIMIT + 2; limit++) {
    const { isWhole, records } = await bench.parts.shortTerm.recent(contextId, limit);
    if (isWhole) expect(records.map(({ id }) => id)).toEqual(all.slice(-limit));
  }
  const { records } = await bench.parts.shortTerm.recent(contextId, 1000);
  const committed = records.filter(({ id }) => !model.find(id).pending && !model.find(id).aside);
  expect(committed.length).toBeLessThanOrEqual(SHORT_TERM_LIMIT);
}

export function expectRecords(read: readonly ContextRecord[], expected: readonly ModelRecord[]): void {
  const told = read.map(({ id, createdAt, userMessage, assistantMessage, text }) => ({
    id,
    createdAt,
    text: text === undefined ? [userMessage, assistantMessage] : [text],
  }));
  expect(told).toEqual(expected.map(({ id, createdAt, text }) => ({ id, createdAt, text: Object.values(text) })));
}

function texts(text: ReturnType<typeof decodeTokens>): string[] {
  return 'text' in text ? [text.text] : [text.user, text.assistant];
}
