import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type RunningCli, startCli } from './support/cli.ts';
import { eventually } from './support/eventually.ts';
import { startStack, type Stack } from './support/stack.ts';
import { turn, turns } from './support/turns.ts';

let stack: Stack;
let running: RunningCli[];
beforeEach(async () => {
  running = [];
  stack = await startStack();
});
afterEach(async () => {
  for (const { process: child } of running) child.kill('SIGKILL');
  await stack.stop();
});

function startWorker(environment: Record<string, string> = {}): RunningCli {
  const worker = startCli(['worker', 'chat'], { environment: { ...stack.environment, ...environment } });
  running.push(worker);
  return worker;
}

test('SIGTERM: it finishes what is in hand, leaves the rest in the queue, loses and fails nothing, ends with 0', async () => {
  const contextId = stack.newContextId();
  await stack.memory.saveChats(turns(contextId, 500));
  const worker = startWorker({ MEMORY_WORKER_CONCURRENCY: '4' });
  await eventually(async () => (await stack.client.xlen('memory:pending')) > 20);
  worker.process.kill('SIGTERM');
  expect(await worker.ended).toEqual({ code: 0, signal: null, stdout: '', stderr: '' });
  const { waiting = 0, completed = 0, ...rest } = await stack.queue('chat').getJobCounts();
  expect(waiting).toBeGreaterThan(0);
  expect(waiting + completed).toBe(500);
  expect(rest).toMatchObject({ active: 0, failed: 0, delayed: 0 });
  expect(await stack.client.xlen('memory:pending')).toBe(completed);
});

test('a second signal ends it at once, with 1, and the job in hand is not failed', async () => {
  stack.proxy.fault = () => 'hang';
  const worker = startWorker({ MEMORY_WRITE_MODE: 'immediate', MEMORY_SHUTDOWN_TIMEOUT_MS: '600000' });
  const { id } = await stack.memory.saveChat(turn(stack.newContextId(), 1));
  await eventually(() => stack.proxy.requests.length > 0);
  worker.process.kill('SIGINT');
  worker.process.kill('SIGTERM');
  expect(await worker.ended).toMatchObject({ code: 1, signal: null });
  const job = await stack.queue('chat').getJob(id);
  expect([await job?.getState(), job?.attemptsMade]).toEqual(['active', 0]);
});

test('while it still waits for Redis, a signal ends it with 0', async () => {
  const worker = startWorker({ REDIS_URL: 'redis://127.0.0.1:1', MEMORY_LOG_LEVEL: 'warn' });
  await eventually(() => worker.said.stderr.includes('redis is away'));
  worker.process.kill('SIGTERM');
  expect(await worker.ended).toMatchObject({ code: 0, signal: null });
});

test('on a Redis that may evict pending records it ends with 2 and says what to set', async () => {
  await stack.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
  const { code, stderr } = await startWorker().ended;
  expect([code, stderr]).toEqual([2, expect.stringMatching(/^error: REDIS_URL: .*config set maxmemory-policy noevic/)]);
});
