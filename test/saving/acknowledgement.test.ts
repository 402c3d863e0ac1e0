import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { MemoryCore } from '../../producers/index.ts';
import { type HoldingProxy, startHoldingProxy } from '../support/faults/holding-proxy.ts';
import { turn } from '../support/inputs/turns.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
let proxy: HoldingProxy;
let memory: MemoryCore;

beforeAll(async () => {
  stack = await startStack();
  proxy = await startHoldingProxy(stack.redis.port);
  // Long enough for the job to be held for as long as the test takes.
  const environment = { REDIS_URL: `redis://127.0.0.1:${proxy.port}`, MEMORY_REDIS_TIMEOUT_MS: '60000' };
  memory = new MemoryCore({ ...stack.environment, ...environment });
});
afterEach(() => proxy.release());
afterAll(async () => {
  await memory.close();
  await proxy.stop();
  await stack.stop();
});

/** Stands in the job and in no other command: before a job is added, Redis is asked about user and conversation only. */
const TEXT = 'the text that only the job has';

test.each([
  ['saveChat', 'chat', (contextId: string) => memory.saveChat(turn(contextId, 1, { userMessage: TEXT }))],
  ['saveChats', 'chat', (contextId: string) => memory.saveChats([turn(contextId, 1, { userMessage: TEXT })])],
  ['saveReflection', 'reflection', (contextId: string) => memory.saveReflection({ contextId, reflectionText: TEXT })],
] as const)('%s resolves when Redis has the job, and not before', async (_name, queue, save) => {
  const waiting = await stack.queue(queue).getWaitingCount();
  const held = proxy.hold(TEXT);
  let isResolved = false;
  const saving = save(stack.newContextId()).then((receipt) => {
    isResolved = true;
    return receipt;
  });
  await held;
  // Whatever resolves without Redis has resolved by then: only the connection could still bring anything.
  await turnOfEventLoop();
  expect(isResolved).toBe(false);
  expect(await stack.queue(queue).getWaitingCount()).toBe(waiting);

  proxy.release();
  await saving;
  expect(await stack.queue(queue).getWaitingCount()).toBe(waiting + 1);
});
