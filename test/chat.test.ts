import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startStack, type Stack } from './support/stack.ts';

describe.each(['embedded', 'postgrest'] as const)('a turn, on the %s Supabase', (supabase) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ supabase });
    await stack.startWorkers('chat', 'flush');
  });
  afterAll(() => stack.stop());

  test('is queued, cached, readable, committed once, and still readable', async () => {
    const contextId = stack.newContextId();
    const turn = {
      contextId,
      userId: 'user-1',
      userMessage: '你好，台東三天兩夜怎麼排？',
      assistantMessage: 'Day 1: …',
    };
    const receipt = await stack.memory.saveChat(turn, { wait: true });
    expect(receipt).toMatchObject({
      success: true,
      redisStored: true,
      supabaseStored: false,
      conversationId: contextId,
    });
    expect(receipt.tokenCount).toBeGreaterThan(0);

    const expected = { id: receipt.id, userMessage: turn.userMessage, assistantMessage: turn.assistantMessage };
    expect((await stack.memory.getMemoryContext(contextId)).records).toMatchObject([expected]);
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 1, failedCount: 0 });
    const { data } = await stack.supabase.from('memories').select('*').eq('context_id', contextId);
    expect(data).toHaveLength(1);
    expect((await stack.memory.getMemoryContext(contextId)).records).toMatchObject([expected]);
  });
});
