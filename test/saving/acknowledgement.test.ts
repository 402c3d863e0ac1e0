import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { startRedis } from '../../embedded/redis.ts';
import { MemoryCore } from '../../producers/index.ts';
import { eventually } from '../support/faults/eventually.ts';
import { type HoldingProxy, startHoldingProxy } from '../support/faults/holding-proxy.ts';
import { turn } from '../support/inputs/turns.ts';
import { redisPrograms } from '../support/services/redis-programs.ts';
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

/**
 * /dev/null takes every write and refuses every fsync. Which of the two an answer waits for shows nowhere else but in a power
 * cut: what a process has written survives its `kill -9` in the memory of the kernel, synced or not.
 */
describe.each(redisPrograms())('a %s whose append-only file cannot be synced', (_name, program) => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-unsynced-'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  async function startUnsynced(appendfsync: 'always' | 'everysec') {
    const own = path.join(dir, appendfsync);
    mkdirSync(path.join(own, 'appendonlydir'), { recursive: true });
    // The file's name before Redis 7.0, and since.
    symlinkSync('/dev/null', path.join(own, 'appendonly.aof'));
    symlinkSync('/dev/null', path.join(own, 'appendonlydir', 'appendonly.aof.1.incr.aof'));
    const redis = await startRedis(own, { program, appendfsync });
    const environment = { REDIS_URL: redis.url, MEMORY_REDIS_TIMEOUT_MS: '500' };
    return { redis, memory: new MemoryCore({ ...stack.environment, ...environment }) };
  }

  test('acknowledges no save with appendfsync always: the answer comes after the fsync', async () => {
    const { redis, memory } = await startUnsynced('always');
    await expect(memory.saveChat(turn('unsynced', 1))).rejects.toMatchObject({ code: 'redis_unavailable' });
    await eventually(() => redis.process.exitCode !== null); // it cannot keep its promise, and ends
    const again = await startRedis(path.join(dir, 'again'), { program, port: redis.port, appendfsync: 'always' });
    await eventually(() => memory.saveChat(turn('unsynced', 1)).catch(() => null));
    await memory.close();
    await again.stop();
  });

  test('acknowledges saves with everysec, which it may lose in a power cut', async () => {
    const { redis, memory } = await startUnsynced('everysec');
    await expect(memory.saveChat(turn('unsynced', 1))).resolves.toMatchObject({ redisStored: true });
    await memory.close();
    await redis.stop();
  });
});
