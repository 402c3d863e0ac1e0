import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MemoryCore } from '../../producers/index.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

/** What is saved in sequence is read in that sequence, whatever the ids are: those of keys are in no order. */
let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  await stack.startWorkers('chat', 'reflection', 'flush');
});
afterAll(() => stack.stop());

const question = (n: number) => `q${n}`;
const keyed = (contextId: string, n: number) => ({
  contextId,
  userId: 'u',
  userMessage: question(n),
  assistantMessage: 'a',
  idempotencyKey: `k${n}`,
});
const range = (length: number) => Array.from({ length }, (_, n) => n);
const inOrder = (length: number) => range(length).map(question);

async function readAll(contextId: string, limit: number): Promise<(string | undefined)[]> {
  const read: (string | undefined)[] = [];
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await stack.memory.getMemoryContext(contextId, { limit, ...(cursor && { cursor }) });
    read.push(...page.items.map((item) => item.userMessage ?? item.text));
    expect(read.length).toBeLessThanOrEqual(1000);
    cursor = page.nextCursor;
  }
  return read;
}

/** In the cache, after the flush, read from Supabase alone, refilled, and exported. */
async function expectEverywhere(contextId: string, expected: string[]): Promise<void> {
  await stack.idle('chat');
  expect(await readAll(contextId, 7)).toEqual(expected);
  expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, failedCount: 0 });
  await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`);
  expect(await readAll(contextId, 7)).toEqual(expected);
  const { items } = await stack.memory.loadRecentContext(contextId, { limit: 100 });
  expect(items.map(({ userMessage, text }) => userMessage ?? text)).toEqual(expected);
  await eventually(async () => (await stack.client.zcard(`memory:order:${contextId}`)) === expected.length);
  expect(await readAll(contextId, 1)).toEqual(expected);
  const exported: string[] = [];
  for await (const line of stack.memory.exportTrainingData({ contextId, format: 'openai' })) {
    exported.push(JSON.parse(line).messages[0].content);
  }
  expect(exported).toEqual(expected);
}

test('turns of one call, with keys and without times', async () => {
  const contextId = stack.newContextId();
  await stack.memory.saveChats(range(50).map((n) => keyed(contextId, n)));
  await expectEverywhere(contextId, inOrder(50));
});

test('saves that are called one after the other and not waited for', async () => {
  const contextId = stack.newContextId();
  await Promise.all(range(50).map((n) => stack.memory.saveChat(keyed(contextId, n))));
  await expectEverywhere(contextId, inOrder(50));
});

test('saves of two producers by turns, each after the answer to the other, whatever their clocks say', async () => {
  const contextId = stack.newContextId();
  const other = new MemoryCore(stack.environment);
  const clock = Date.now;
  try {
    for (const n of range(20)) {
      const isOdd = n % 2 === 1;
      Date.now = () => clock() + (isOdd ? 7_200_000 : 0);
      await (isOdd ? other : stack.memory).saveChat(keyed(contextId, n));
    }
  } finally {
    Date.now = clock;
    await other.close();
  }
  await expectEverywhere(contextId, inOrder(20));
});

test('a turn and a reflection that are saved in the same moment', async () => {
  const contextId = stack.newContextId();
  await Promise.all(
    range(10).flatMap((n) => [
      stack.memory.saveChat(keyed(contextId, 2 * n)),
      stack.memory.saveReflection({ contextId, userId: 'u', reflectionText: question(2 * n + 1) }),
    ]),
  );
  await stack.idle('chat');
  await stack.idle('reflection');
  expect(await readAll(contextId, 3)).toEqual(inOrder(20));
});

test('times of the caller that differ by microseconds', async () => {
  const contextId = stack.newContextId();
  // The ids are in the opposite order.
  await stack.memory.saveChats(
    range(10).map((n) => ({
      ...keyed(contextId, n),
      idempotencyKey: undefined,
      id: `0190a1b2-0000-7000-8000-00000000000${9 - n}`,
      createdAt: `2025-10-19T15:42:10.12345${n}Z`,
    })),
  );
  await expectEverywhere(contextId, inOrder(10));
  const { items } = await stack.memory.getMemoryContext(contextId);
  expect(items.map(({ createdAt }) => createdAt)).toEqual(range(10).map((n) => `2025-10-19T15:42:10.12345${n}Z`));
});

test('rows that another program has written to the microsecond are each read once', async () => {
  const contextId = stack.newContextId();
  const rows = range(3).map((n) => ({
    id: `0190a1b2-0000-7000-8000-0000000001${n}0`,
    context_id: contextId,
    user_id: 'u',
    tokens: { encoding: 'cl100k_base', text: [n] },
    module: 'knowledge',
    created_at: `2025-10-19T15:42:10.123${n}56+00:00`,
  }));
  expect((await stack.supabase.from('memories').insert(rows)).error).toBeNull();
  expect(await readAll(contextId, 1)).toHaveLength(3);
});

test('the time of a record is that of Redis, also after Redis had been hours ahead', async () => {
  const contextId = stack.newContextId();
  const seconds = Number((await stack.client.time())[0]);
  const hoursAhead = (hours: number) => String((seconds + hours * 3600) * 1_000_000);
  await stack.client.set('memory:last-time', hoursAhead(0.5));
  await stack.memory.saveChat(keyed(contextId, 0));
  await stack.memory.saveChat(keyed(contextId, 1));
  await stack.client.set('memory:last-time', hoursAhead(2));
  await stack.memory.saveChat(keyed(contextId, 2));
  await stack.idle('chat');
  const { items } = await stack.memory.getMemoryContext(contextId);
  expect(items.map(({ userMessage }) => userMessage)).toEqual(['q2', 'q0', 'q1']);
  const ahead = items.map(({ createdAt }) => Math.round((Date.parse(createdAt) / 1000 - seconds) / 60));
  expect(ahead.map((minutes) => minutes > 20)).toEqual([false, true, true]);
});
