import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { eventually } from '../support/faults/eventually.ts';
import type { ProxiedRequest } from '../support/faults/fault-proxy.ts';
import { turns } from '../support/inputs/turns.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

/** Longer than an erasure takes that waits for nobody. */
const LATE_MS = 2_000;

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
  let inserts = 0;
  proxy.fault = (request) => (isInsert(request) ? { lateMs: LATE_MS } : null);
  proxy.beforeAnswer = (request) => {
    if (isInsert(request)) inserts += 1;
    return null;
  };
  const flushing = memory.flushRedisToSupabase();
  await eventually(() => proxy.requests.some(isInsert));

  const { tiers } = await memory.forget({ contextId });
  await flushing;
  await eventually(() => inserts > 0);
  expect(tiers.pending).toBe(3);
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
  expect(data).toEqual([]);
  expect((await memory.getMemoryContext(contextId)).items).toEqual([]);
});
