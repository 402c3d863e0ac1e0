import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import { MemoryCore } from '../../producers/index.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn } from '../support/inputs/turns.ts';

let stack: Stack;
beforeEach(async () => {
  stack = await startStack();
});
afterEach(() => stack.stop());

test('a MemoryCore that looks into its queues first while Redis stands still saves once Redis goes on', async () => {
  const memory = new MemoryCore({ ...stack.environment, MEMORY_REDIS_TIMEOUT_MS: '1000' });
  try {
    await expect(memory.inspect(uuidv7())).rejects.toMatchObject({ code: 'not_found' }); // connected
    stack.redis.process.kill('SIGSTOP');
    await expect(memory.getStatus(uuidv7())).rejects.toMatchObject({ code: 'redis_unavailable' });
    stack.redis.process.kill('SIGCONT');
    await eventually(() => memory.saveChat(turn(stack.newContextId(), 1)).catch(() => null), 15_000);
  } finally {
    stack.redis.process.kill('SIGCONT');
    await memory.close();
  }
});
