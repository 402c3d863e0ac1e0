import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Job } from 'bullmq';
import { v7 as uuidv7 } from 'uuid';
import type { QueueName } from '../shared/queues.ts';
import {
  badChatFields,
  badCounts,
  badFlushFields,
  badReflectionFields,
  badRoots,
  type BadValue,
  badRowFields,
  inside,
  MARKER,
} from './support/bad-values.ts';
import { eventually } from './support/eventually.ts';
import { ODD_IDS } from './support/odd-ids.ts';
import { startStack, type Stack } from './support/stack.ts';

const HEAD = { contextId: 'c', createdAt: '2025-10-19T15:42:10.000Z' };
const chat = () => ({ ...HEAD, id: uuidv7(), userId: 'u', userMessage: MARKER, assistantMessage: MARKER });
const reflection = () => ({ ...HEAD, id: uuidv7(), reflectionText: MARKER, visibility: 'private' });
const quarantined = () => ({
  row: {
    id: uuidv7(),
    user_id: 'u',
    context_id: 'c',
    tokens: { encoding: 'cl100k_base', text: [1] },
    text_cache: MARKER,
    module: 'chat',
    cid: null,
    created_at: HEAD.createdAt,
  },
  error: { code: '22P05', message: 'unsupported Unicode escape sequence' },
});
const missing = (...fields: string[]): BadValue[] =>
  fields.map((field) => ({ field, wrong: 'missing', value: undefined }));

/** What any BullMQ client may add to each queue, good and bad; a good quarantined job fails too, for it waits there. */
const JOBS: { name: QueueName; what: string; good: () => object; bad: BadValue[]; goodReason?: string }[] = [
  {
    name: 'chat',
    what: 'the chat job',
    good: chat,
    bad: inside(chat(), [...badChatFields, ...missing('id', 'createdAt')]),
  },
  {
    name: 'reflection',
    what: 'the reflection job',
    good: reflection,
    bad: inside(reflection(), [...badReflectionFields, ...missing('id', 'createdAt', 'visibility')]),
  },
  {
    name: 'flush',
    what: 'the flush job',
    good: () => ({ reason: 'a test' }),
    bad: inside({ reason: 'a test' }, [...badFlushFields, ...badCounts('batchSize', 1_000)]),
  },
  {
    name: 'quarantine',
    what: 'the quarantined job',
    good: quarantined,
    goodReason: 'refused (22P05): unsupported Unicode escape sequence',
    bad: [
      ...inside(quarantined(), missing('row', 'error')),
      ...inside(quarantined().row, badRowFields).map(({ field, wrong, value }) => ({
        field: `row.${field}`,
        wrong,
        value: { ...quarantined(), row: value },
      })),
    ],
  },
];

describe.each(JOBS)('a malformed job in the queue $name', ({ name, what, good, bad, goodReason }) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
    await stack.startWorkers(name === 'quarantine' ? 'flush' : name);
  });
  afterAll(() => stack.stop());

  async function ended(job: Job): Promise<Job> {
    return eventually(async () => {
      const now = await stack.queue(name).getJob(job.id ?? '');
      return now?.finishedOn ? now : null;
    }) as Promise<Job>;
  }

  test.each([...badRoots(what), ...bad])(
    '$wrong: fails at once, and the next job is done',
    async ({ field, value }) => {
      const before = await stack.client.keys('memory:*');
      const options = { attempts: 5, backoff: { type: 'fixed', delay: 1 } };
      const failed = await ended(await stack.queue(name).add(name, value, options));
      expect(failed).toMatchObject({ attemptsMade: 1, attemptsStarted: 1, returnvalue: null });
      expect(failed.failedReason).toMatch(`${what} is not valid: ${field === what ? '' : `${field}: `}expected `);
      expect(`${failed.failedReason} ${failed.stacktrace?.join()}`).not.toContain(MARKER);
      expect((await stack.client.keys('memory:*')).toSorted()).toEqual(before.toSorted());

      const next = await ended(await stack.queue(name).add(name, good()));
      expect(next.failedReason).toBe(goodReason);
    },
  );
});

test('a malformed job in quarantine hides no other: both are listed, and have a status', async () => {
  const stack = await startStack();
  try {
    await stack.startWorkers('flush');
    const jobs = [quarantined(), { nothing: MARKER }].map((data) => ({
      name: 'quarantine',
      data,
      opts: { jobId: uuidv7() },
    }));
    const [refused, malformed] = await stack.queue('quarantine').addBulk(jobs);
    await eventually(async () => (await stack.memory.getStats()).quarantined === 2);
    const listed = await stack.memory.listQuarantined();
    expect(listed.map(({ message }) => message).toSorted()).toEqual([
      expect.stringMatching(/^refused \(22P05\)/),
      expect.stringMatching(/^the quarantined job is not valid: /),
    ]);
    for (const job of [refused, malformed])
      expect(await stack.memory.getStatus(job?.id ?? '')).toMatchObject({ status: 'quarantined' });
  } finally {
    await stack.stop();
  }
});

const SUPABASES = [
  ['embedded', ODD_IDS],
  // PGlite 0.4 reads every text without a byte order mark at its beginning; PostgreSQL has it as it was.
  ['postgrest', [...ODD_IDS, ['a byte order mark', '\uFEFFx'] as const]],
] as const;

describe.each(SUPABASES)('odd but legal ids, on the %s Supabase', (supabase, ids) => {
  let stack: Stack;
  /** Record id by conversation. */
  const saved = new Map<string, string>();

  beforeAll(async () => {
    stack = await startStack({ supabase });
    await stack.startWorkers('chat', 'flush');
    const receipts = await Promise.all(
      ids.map(([name, id]) =>
        stack.memory.saveChat(
          { contextId: id, userId: id, userMessage: name, assistantMessage: `id ${id}` },
          { wait: true },
        ),
      ),
    );
    for (const { conversationId, id } of receipts) saved.set(conversationId, id);
  });
  afterAll(() => stack.stop());

  /** What every read of the conversation must give: its one record and nobody else's. */
  async function expectOwnRecord(name: string, contextId: string): Promise<void> {
    const own = {
      id: saved.get(contextId),
      contextId,
      userId: contextId,
      userMessage: name,
      assistantMessage: `id ${contextId}`,
    };
    const { records, nextCursor } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
    expect(records).toEqual([expect.objectContaining(own)]);
    expect(nextCursor).toBeNull();
    const { items } = await stack.memory.loadRecentContext(contextId);
    expect(items).toEqual([expect.objectContaining(own)]);
    expect(await stack.memory.getReflections(contextId)).toEqual([]);
  }

  test.each(ids)('%s: is read while it is pending', async (name, id) => {
    await expectOwnRecord(name, id);
    expect(await stack.memory.getStatus(saved.get(id) ?? '')).toMatchObject({ id: saved.get(id) });
  });

  test('all are committed by one flush, none is refused', async () => {
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, failedCount: 0 });
    expect(await stack.client.xlen('memory:pending')).toBe(0);
    const { data } = await stack.supabase
      .from('memories')
      .select('id, context_id, user_id')
      .in('id', [...saved.values()]);
    expect(new Map(data?.map((row) => [row.context_id, row.id]))).toEqual(saved);
    expect(data?.every((row) => row.context_id === row.user_id)).toBe(true);
  });

  test.each(ids)('%s: is read from the cache, from Supabase alone, and from the cache again', async (name, id) => {
    await expectOwnRecord(name, id);
    const keys = ['conversation', 'order', 'uncommitted', 'refill'].map((kind) => `memory:${kind}:${id}`);
    expect(await stack.client.del(keys)).toBeGreaterThan(0);
    await expectOwnRecord(name, id);
    expect(await stack.client.hexists(`memory:conversation:${id}`, saved.get(id) ?? '')).toBe(1);
    expect(await stack.memory.inspect(saved.get(id) ?? '')).toMatchObject({
      foundIn: 'supabase',
      record: { contextId: id, userMessage: name },
    });
  });
});
