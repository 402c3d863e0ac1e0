import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { eventually } from '../support/faults/eventually.ts';
import type { ProxiedRequest } from '../support/faults/fault-proxy.ts';
import { turns } from '../support/inputs/turns.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
beforeEach(async () => {
  stack = await startStack();
  await stack.startWorkers('chat', 'flush');
});
afterEach(() => stack.stop());

function isInsert({ method, url }: ProxiedRequest): boolean {
  return method === 'POST' && url.startsWith('/rest/v1/memories');
}

test('a flush that is slow at Supabase brings nothing back that was erased while it had it in hand', async () => {
  const { memory, proxy } = stack;
  const contextId = stack.newContextId();
  await memory.saveChats(turns(contextId, 3));
  await stack.idle('chat');
  let isForgotten = false;
  /** An erasure that waits for flushes asks for one; one that does not is over at once. */
  const isPast = async () => {
    const flushes = await stack.queue('flush').getJobs();
    return isForgotten || flushes.some(({ data }) => data.reason === 'erasure');
  };
  const { promise: past, resolve: goOn } = Promise.withResolvers<void>();
  proxy.fault = (request) => (isInsert(request) ? { until: past } : null);
  const flushing = memory.flushRedisToSupabase();
  await eventually(() => proxy.requests.some(isInsert));

  const forgetting = memory.forget({ contextId }).finally(() => (isForgotten = true));
  await eventually(isPast);
  goOn();
  const [{ tiers }] = await Promise.all([forgetting, flushing]);
  expect(tiers.pending).toBe(3);
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
  expect(data).toEqual([]);
  expect((await memory.getMemoryContext(contextId)).items).toEqual([]);
});
