import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { idsOf, oddTurns } from '../support/inputs/turns.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
let contextId: string;
/** As every read must give them: in the order of moment and id. */
let expected: { id: string; createdAt: string; userMessage: string; assistantMessage: string }[];

beforeAll(async () => {
  stack = await startStack();
  await stack.startWorkers('chat', 'flush');
  contextId = stack.newContextId();
  const odd = oddTurns(contextId);
  const ids = idsOf(await stack.memory.saveChats(odd.map(({ input }) => input)));
  await stack.idle('chat');
  expected = odd
    .map(({ input: { userMessage, assistantMessage }, keptAt }, i) => ({
      id: ids[i] ?? '',
      createdAt: keptAt,
      userMessage,
      assistantMessage,
    }))
    .toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
});
afterAll(() => stack.stop());

/** With all digits of its second, so that it compares as text. */
const placeOf = ({ createdAt, id }: { createdAt: string; id: string }) =>
  createdAt.replace(/(\.\d{3})Z$/, '$1000Z') + id;

const heads = (records: readonly { id: string; createdAt: string }[]) =>
  records.map(({ id, createdAt }) => [createdAt, id]);

/** Compared one by one: a difference between two texts of megabytes is more than one can read. */
async function expectAll(): Promise<void> {
  const pages = [];
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await stack.memory.getMemoryContext(contextId, { limit: 5, ...(cursor && { cursor }) });
    pages.push(...page.items);
    cursor = page.nextCursor;
  }
  const { items: recent } = await stack.memory.loadRecentContext(contextId, { limit: 100 });
  for (const read of [pages, recent]) {
    expect(heads(read)).toEqual(heads(expected));
    const different = read.filter((record, i) => {
      const { userMessage, assistantMessage } = record;
      return userMessage !== expected[i]?.userMessage || assistantMessage !== expected[i]?.assistantMessage;
    });
    expect(heads(different)).toEqual([]);
  }
}

test('ties, microseconds, clocks that are wrong, hardly any text and the largest are read as they were said', async () => {
  await expectAll();
  expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: expected.length });
  await expectAll();
  // Two days later: from Supabase alone, and then from what a read has brought back into Redis.
  await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`);
  await expectAll();
  await expectAll();
});
