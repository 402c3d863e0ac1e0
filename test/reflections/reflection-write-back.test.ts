import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
beforeEach(async () => {
  stack = await startStack();
});
afterEach(() => stack.stop());

test.each(['/memories', '/memory_reflections'])(
  'a CID stands in both tables and in the cache also when writing it to %s was cut off the first time',
  async (table) => {
    const contextId = stack.newContextId();
    await stack.startWorkers('reflection');
    let cuts = 0;
    stack.proxy.fault = ({ method, url }) =>
      method === 'PATCH' && url.includes(`${table}?`) && (cuts += 1) === 1 ? { status: 503 } : null;
    const { id } = await stack.memory.saveReflection({ contextId, reflectionText: 'on queues' });
    await stack.idle('reflection');
    expect(cuts).toBeGreaterThan(0);
    const { data: reflection } = await stack.supabase.from('memory_reflections').select('cid').eq('id', id).single();
    const { data: memory } = await stack.supabase.from('memories').select('cid').eq('id', id).single();
    expect(memory?.cid).toBe(reflection?.cid);
    const [read] = (await stack.memory.loadRecentContext(contextId)).items;
    expect(read?.cid).toBe(reflection?.cid);
    expect(await stack.memory.getStatus(id)).toMatchObject({ status: 'pinned', cid: reflection?.cid });
  },
);
