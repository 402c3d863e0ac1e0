import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Ended, type RunningCli, startCli } from '../support/clients/cli.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';

/** Supabase hangs longer than a worker has for ending. */
const ENVIRONMENT = { MEMORY_SHUTDOWN_TIMEOUT_MS: '300', MEMORY_LOG_LEVEL: 'info' };

let stack: Stack;
let running: RunningCli[];
beforeEach(async () => {
  running = [];
  stack = await startStack();
});
afterEach(async () => {
  for (const { process: child } of running) child.kill('SIGKILL');
  await Promise.all(running.map(({ ended }) => ended));
  await stack.stop();
});

async function startWorker(
  kind: string,
  environment: Record<string, string> = {},
  sign = 'worker started',
): Promise<RunningCli> {
  const worker = startCli(['worker', kind], { environment: { ...stack.environment, ...ENVIRONMENT, ...environment } });
  running.push(worker);
  await eventually(() => worker.said.stderr.includes(sign));
  return worker;
}

/** Ends a worker the way an orchestrator does; gives how it ended and what its log says was left. */
async function terminate(worker: RunningCli): Promise<Ended & { left: unknown; reason: unknown }> {
  worker.process.kill('SIGTERM');
  const ended = await worker.ended;
  const lines = ended.stderr.split('\n').filter((line) => line.startsWith('{'));
  const last = lines.map((line) => JSON.parse(line)).findLast(({ msg }) => msg.startsWith('stopped'));
  return { ...ended, left: last?.left, reason: last?.reason };
}

describe('a chat worker whose time is up', () => {
  const hanging = { MEMORY_WRITE_MODE: 'immediate', MEMORY_WORKER_CONCURRENCY: '3' };

  test('gives the jobs in hand back, first in line and without an attempt, reports them and ends with 1', async () => {
    stack.proxy.fault = () => 'hang';
    const worker = await startWorker('chat', hanging);
    const ids = idsOf(await stack.memory.saveChats(turns(stack.newContextId(), 5)));
    await eventually(() => stack.proxy.requests.length === 3);
    const { code, signal, left } = await terminate(worker);
    expect([code, signal, (left as string[]).toSorted()]).toEqual([1, null, ids.slice(0, 3).toSorted()]);

    const waiting = await stack.queue('chat').getWaiting();
    expect(waiting).toHaveLength(5);
    const first = waiting.slice(0, 3).map(({ id }) => id ?? '');
    expect(first.toSorted()).toEqual(ids.slice(0, 3).toSorted());
    expect(waiting.map(({ attemptsMade, stalledCounter }) => [attemptsMade, stalledCounter])).toEqual(
      ids.map(() => [0, 0]),
    );
    // The next worker gets on at once: no lock has to run out first.
    stack.proxy.fault = () => null;
    await stack.startWorkers('chat');
    await stack.idle('chat');
    expect(await stack.queue('chat').getJobCounts('completed', 'failed')).toEqual({ completed: 5, failed: 0 });
  });

  test('with Redis gone as well ends all the same, says so, and fails no job', async () => {
    stack.proxy.fault = () => 'hang';
    const worker = await startWorker('chat', hanging);
    const { id } = await stack.memory.saveChat(turn(stack.newContextId(), 1));
    await eventually(() => stack.proxy.requests.length === 1);
    stack.redis.process.kill('SIGSTOP');
    try {
      const { code, left, reason } = await terminate(worker);
      expect([code, left, reason]).toEqual([1, [id], expect.stringMatching(/not done within/)]);
    } finally {
      stack.redis.process.kill('SIGCONT');
    }
    const job = await stack.queue('chat').getJob(id);
    // Back in its queue if Redis has read the hand-back after all, else until its lock runs out in the worker's hand.
    expect([['waiting', 'active'].includes((await job?.getState()) ?? ''), job?.attemptsMade]).toEqual([true, 0]);
  });
});

test('a flush worker whose time is up hands its records back: the next flush takes them without waiting', async () => {
  const contextId = stack.newContextId();
  await stack.startWorkers('chat');
  await stack.memory.saveChats(turns(contextId, 30));
  await stack.idle('chat');
  stack.proxy.fault = () => 'hang';
  const worker = await startWorker('flush');
  const job = await stack.queue('flush').add('flush', { reason: 'a test', batchSize: 10 });
  await eventually(() => stack.proxy.requests.length === 2);
  const held = () => stack.client.xpending('memory:pending', 'flush', 'IDLE', 30_000, '-', '+', 100);
  expect(await held()).toEqual([]);
  expect(await terminate(worker)).toMatchObject({ code: 1, left: [job.id] });
  expect(await held()).toHaveLength(20); // free to be taken over
  expect(await stack.queue('flush').getWaitingCount()).toBe(1);

  stack.proxy.fault = () => null;
  await stack.startWorkers('flush');
  await eventually(async () => (await stack.memory.getStats()).pendingQueueLength === 0);
  const { count } = await stack.supabase.from('memories').select('*', { count: 'exact' }).eq('context_id', contextId);
  expect(count).toBe(30);
});

test('workers that come and go while turns flow lose, repeat and fail nothing', async () => {
  const contextId = stack.newContextId();
  const ids = idsOf(await stack.memory.saveChats(turns(contextId, 600)));
  for (const done of [50, 150, 250]) {
    const worker = await startWorker('chat', { MEMORY_WORKER_CONCURRENCY: '5', MEMORY_SHUTDOWN_TIMEOUT_MS: '30000' });
    await eventually(async () => (await stack.client.xlen('memory:pending')) > done);
    expect(await terminate(worker)).toMatchObject({ code: 0, left: undefined });
  }
  await stack.startWorkers('chat');
  await stack.idle('chat');
  const jobs = await stack.queue('chat').getCompleted();
  expect(jobs.map(({ id }) => id ?? '').toSorted()).toEqual(ids.toSorted());
  expect(jobs.filter(({ attemptsStarted, stalledCounter }) => attemptsStarted !== 1 || stalledCounter !== 0)).toEqual(
    [],
  );
  const { items: records } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
  expect(records.map(({ id }) => id)).toEqual(ids);
});

test('SIGTERM: it finishes what is in hand, leaves the rest in the queue, loses and fails nothing, ends with 0', async () => {
  const contextId = stack.newContextId();
  await stack.memory.saveChats(turns(contextId, 500));
  const worker = await startWorker('chat', { MEMORY_WORKER_CONCURRENCY: '4', MEMORY_SHUTDOWN_TIMEOUT_MS: '30000' });
  await eventually(async () => (await stack.client.xlen('memory:pending')) > 20);
  worker.process.kill('SIGTERM');
  expect(await worker.ended).toMatchObject({ code: 0, signal: null, stdout: '' });
  const { waiting = 0, completed = 0, ...rest } = await stack.queue('chat').getJobCounts();
  expect(waiting).toBeGreaterThan(0);
  expect(waiting + completed).toBe(500);
  expect(rest).toMatchObject({ active: 0, failed: 0, delayed: 0 });
  expect(await stack.client.xlen('memory:pending')).toBe(completed);
});

test('a second signal ends it at once, with 1, and the job in hand is not failed', async () => {
  stack.proxy.fault = () => 'hang';
  const worker = await startWorker('chat', { MEMORY_WRITE_MODE: 'immediate', MEMORY_SHUTDOWN_TIMEOUT_MS: '600000' });
  const { id } = await stack.memory.saveChat(turn(stack.newContextId(), 1));
  await eventually(() => stack.proxy.requests.length > 0);
  worker.process.kill('SIGINT');
  worker.process.kill('SIGTERM');
  expect(await worker.ended).toMatchObject({ code: 1, signal: null });
  const job = await stack.queue('chat').getJob(id);
  expect([await job?.getState(), job?.attemptsMade]).toEqual(['active', 0]);
});

test('while it still waits for Redis, a signal ends it with 0', async () => {
  const worker = await startWorker('chat', { REDIS_URL: 'redis://127.0.0.1:1' }, 'redis is away');
  worker.process.kill('SIGTERM');
  expect(await worker.ended).toMatchObject({ code: 0, signal: null });
});
