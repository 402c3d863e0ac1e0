/**
 * **test/saving/**: from a save to a row: what a save promises, how it is committed, and what happens where Redis or Supabase is
 * away or full.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';

describe.each([CHOSEN_SUPABASE])('a turn, on the %s Supabase', (supabase) => {
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
    expect((await stack.memory.getMemoryContext(contextId)).items).toMatchObject([expected]);
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 1, failedCount: 0 });
    const { data } = await stack.supabase.from('memories').select('*').eq('context_id', contextId);
    expect(data).toHaveLength(1);
    expect((await stack.memory.getMemoryContext(contextId)).items).toMatchObject([expected]);
  });

  test('under the id of a pending record of another conversation is refused, and that one is committed', async () => {
    const [contextId, other] = [stack.newContextId(), stack.newContextId()];
    const turn = { userId: 'user-1', userMessage: 'the first', assistantMessage: 'yes' };
    const { id } = await stack.memory.saveChat({ ...turn, contextId }, { wait: true });
    const second = { ...turn, id, contextId: other, createdAt: new Date().toISOString(), important: true };
    const job = await stack.queue('chat').add('chat', second, { jobId: `again-${id}` });
    await stack.idle('chat');
    expect((await stack.queue('chat').getJob(job.id ?? ''))?.failedReason).toContain(
      'another conversation has this id',
    );
    expect((await stack.memory.getMemoryContext(other)).items).toEqual([]);
    expect((await stack.memory.flushRedisToSupabase()).flushedCount).toBe(1);
    const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
    expect(data).toEqual([{ id }]);
  });
});
