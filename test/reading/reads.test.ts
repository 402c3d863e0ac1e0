/**
 * **test/reading/**: what is read back: conversations, searches, trends and exports, and that it is complete and in order.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ContextRecord } from '../../producers/index.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';
import { idsOf, moment, turn, turns } from '../support/inputs/turns.ts';

describe.each([CHOSEN_SUPABASE])('reads, on the %s Supabase', (supabase) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ supabase, environment: { MEMORY_SHORT_TERM_LIMIT: '10' } });
    await stack.startWorkers('chat', 'flush');
  });
  afterAll(() => stack.stop());

  const numbersOf = (records: readonly ContextRecord[]) =>
    records.map(({ userMessage }) => Number(userMessage?.split(' ')[1]));

  async function save(inputs: ReturnType<typeof turns>): Promise<void> {
    await stack.memory.saveChats(inputs);
    await stack.idle('chat');
  }

  async function flush(): Promise<void> {
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, failedCount: 0 });
  }

  /** What the time to live does in the end. */
  async function expire(contextId: string): Promise<void> {
    await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`);
  }

  async function readAll(contextId: string, limit: number): Promise<number[]> {
    const read: ContextRecord[] = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await stack.memory.getMemoryContext(contextId, { limit, ...(cursor && { cursor }) });
      expect(page.items.length).toBeLessThanOrEqual(limit);
      read.push(...page.items);
      cursor = page.nextCursor;
    }
    return numbersOf(read);
  }

  async function newest(contextId: string, limit: number): Promise<number[]> {
    return numbersOf((await stack.memory.loadRecentContext(contextId, { limit })).items);
  }

  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

  test('every record once and in order: pending, committed and trimmed, expired, and pending again', async () => {
    const contextId = stack.newContextId();
    await save(turns(contextId, 25));
    expect(await readAll(contextId, 7)).toEqual(range(0, 24));
    expect(await newest(contextId, 12)).toEqual(range(13, 24));
    await flush();
    expect(await readAll(contextId, 7)).toEqual(range(0, 24));
    expect(await newest(contextId, 12)).toEqual(range(13, 24));
    await save(turns(contextId, 5, 25));
    expect(await readAll(contextId, 7)).toEqual(range(0, 29));
    await flush();
    await expire(contextId);
    expect(await newest(contextId, 3)).toEqual(range(27, 29));
    await save(turns(contextId, 2, 30));
    expect(await newest(contextId, 12)).toEqual(range(20, 31));
    expect(await readAll(contextId, 1000)).toEqual(range(0, 31));
  });

  test('the newest record in Redis is not taken for the newest of all after the cache expired', async () => {
    const contextId = stack.newContextId();
    await save(turns(contextId, 3, 100));
    await flush();
    await expire(contextId);
    await save([turn(contextId, 1)]); // an old turn that arrives late
    expect(await newest(contextId, 1)).toEqual([102]);
    expect(await newest(contextId, 10)).toEqual([1, 100, 101, 102]);
  });

  test('order does not depend on which job finished first', async () => {
    const contextId = stack.newContextId();
    const inputs = range(0, 19).map((n) => turn(contextId, n)); // each at a moment of its own
    await save(inputs.filter((_, i) => i % 3 === 2));
    await save(inputs.filter((_, i) => i % 3 !== 2).toReversed());
    expect(await readAll(contextId, 6)).toEqual(range(0, 19));
    await flush();
    expect(await readAll(contextId, 6)).toEqual(range(0, 19));
  });

  test('turns of the same millisecond keep the order of their ids, in Redis and in Supabase alike', async () => {
    const contextId = stack.newContextId();
    const inputs = range(0, 11).map((n) => turn(contextId, n, { createdAt: moment(5) }));
    const ids = idsOf(await stack.memory.saveChats(inputs));
    await stack.idle('chat');
    expect(ids).toEqual(ids.toSorted());
    expect(await readAll(contextId, 5)).toEqual(range(0, 11));
    await flush();
    await expire(contextId);
    expect(await readAll(contextId, 5)).toEqual(range(0, 11));
  });

  test('a read after the cache expired fills it up again, and the next one needs no Supabase', async () => {
    const contextId = stack.newContextId();
    await save(turns(contextId, 4));
    await flush();
    await expire(contextId);
    expect(await newest(contextId, 10)).toEqual(range(0, 3));
    const before = stack.proxy.requests.length;
    expect(await newest(contextId, 10)).toEqual(range(0, 3));
    expect(await readAll(contextId, 100)).toEqual(range(0, 3));
    expect(stack.proxy.requests).toHaveLength(before);
  });

  test('many readers at once fill an expired conversation up with one question to Supabase', async () => {
    const contextId = stack.newContextId();
    await save(turns(contextId, 4));
    await flush();
    await expire(contextId);
    const before = stack.proxy.requests.length;
    const answers = await Promise.all(range(1, 20).map(() => newest(contextId, 10)));
    expect(answers).toEqual(range(1, 20).map(() => range(0, 3)));
    expect(stack.proxy.requests).toHaveLength(before + 1);
  });

  test('a token budget is filled from stored counts with the newest records, without gaps', async () => {
    const contextId = stack.newContextId();
    await save(turns(contextId, 30));
    const all = await stack.memory.loadRecentContext(contextId, { limit: 1000 });
    const costs = all.items.map(({ tokenCount }) => tokenCount);
    const lastSix = costs.slice(-6).reduce((sum, cost) => sum + cost, 0);
    const fitting = await stack.memory.loadRecentContext(contextId, { maxTokens: lastSix });
    expect(numbersOf(fitting.items)).toEqual(range(24, 29));
    expect(fitting.tokenCount).toBe(lastSix);
    expect((await stack.memory.loadRecentContext(contextId, { maxTokens: lastSix - 1 })).items).toHaveLength(5);
    expect((await stack.memory.loadRecentContext(contextId, { maxTokens: 1 })).items).toEqual([]);
    // A budget larger than the cache goes on into the long term.
    expect((await stack.memory.loadRecentContext(contextId, { maxTokens: 1_000_000 })).items).toHaveLength(30);
  });

  test('formats: texts, messages for a model, token ids', async () => {
    const contextId = stack.newContextId();
    await save([turn(contextId, 1)]);
    const messages = await stack.memory.loadRecentContext(contextId, { format: 'messages' });
    expect(messages.items).toEqual([
      { role: 'user', content: 'question 1' },
      { role: 'assistant', content: 'answer 1' },
    ]);
    const [tokens] = (await stack.memory.loadRecentContext(contextId, { format: 'tokens' })).items;
    if (!tokens || !('user' in tokens)) throw new Error('a turn has two token arrays');
    expect(stack.memory.decode(tokens.user, tokens.encoding)).toBe('question 1');
  });

  test('with Supabase away a read that needs it says so, and gives what it has only to who accepts that', async () => {
    const contextId = stack.newContextId();
    await save(turns(contextId, 3));
    await flush();
    await expire(contextId);
    await save([turn(contextId, 3)]);
    stack.proxy.fault = () => ({ status: 503 });
    try {
      const failing = stack.memory.loadRecentContext(contextId);
      await expect(failing).rejects.toMatchObject({ code: 'supabase_unavailable' });
      const partial = await stack.memory.loadRecentContext(contextId, { allowPartial: true });
      expect([partial.complete, numbersOf(partial.items)]).toEqual([false, [3]]);
    } finally {
      stack.proxy.fault = () => null;
    }
    expect(await newest(contextId, 10)).toEqual(range(0, 3));
  });

  test('an empty conversation is empty, and an odd cursor is refused', async () => {
    const contextId = stack.newContextId();
    expect(await stack.memory.getMemoryContext(contextId)).toEqual({
      contextId,
      items: [],
      nextCursor: null,
      complete: true,
    });
    await expect(stack.memory.getMemoryContext(contextId, { cursor: 'abc' })).rejects.toMatchObject({
      code: 'invalid_input',
      problems: [{ field: 'cursor' }],
    });
  });
});
