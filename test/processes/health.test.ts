import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { freePort } from '../../embedded/free-port.ts';
import { loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { createLogger } from '../../shared/telemetry/log.ts';
import { type Health, Progress } from '../../workers/health.ts';
import { connectWorker, type WorkerParts } from '../../workers/steps/worker-parts.ts';
import { startQueueWorker } from '../../shared/process/queue-worker.ts';
import type { WorkerKind } from '../../workers/kinds.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn, turns } from '../support/inputs/turns.ts';

/** When a worker that has not moved since now counts as stuck. */
const THIRTY_SECONDS = 30_000;

let stack: Stack;
beforeEach(async () => {
  stack = await startStack();
});
afterEach(() => stack.stop());

async function startHealthy(kind: WorkerKind, environment: Record<string, string> = {}) {
  Object.assign(stack.environment, environment, { MEMORY_HEALTH_PORT: String(await freePort()) });
  const [worker] = await stack.startWorkers(kind);
  stack.environment['MEMORY_HEALTH_PORT'] = '0'; // for those that are started after it
  return async (what = 'ready') => {
    const response = await fetch(`${worker?.healthUrl}/health/${what}`);
    return { status: response.status, body: (await response.json()) as Health };
  };
}

const ok = { status: 200, body: { status: 'ok', ready: true, reasons: [] } };
const degraded = (reason: RegExp) => ({
  status: 200,
  body: { status: 'degraded', ready: true, reasons: [expect.stringMatching(reason)] },
});
const unready = (reason: RegExp) => ({
  status: 503,
  body: { status: 'unready', ready: false, reasons: [expect.stringMatching(reason)] },
});

describe('over HTTP, a worker', () => {
  test('is live and ready, and unready while Redis does not answer', async () => {
    const get = await startHealthy('chat');
    expect(await get('live')).toEqual({ status: 200, body: { live: true } });
    expect(await get()).toEqual(ok);
    stack.redis.process.kill('SIGSTOP');
    try {
      expect(await get()).toEqual(unready(/^Redis does not answer: .*within 2000 ms/));
      expect((await get('live')).status).toBe(200);
    } finally {
      stack.redis.process.kill('SIGCONT');
    }
    await eventually(async () => (await get()).status === 200);
  });

  test('is degraded while a record is in quarantine, and says how many came lately', async () => {
    const get = await startHealthy('flush');
    await stack.startWorkers('chat');
    const { id } = await stack.memory.saveChat(turn(stack.newContextId(), 1), { wait: true });
    stack.proxy.fault = ({ method }) =>
      method === 'POST' ? { status: 400, body: { code: '23514', message: 'violates a check' } } : null;
    await stack.memory.flushRedisToSupabase();
    await eventually(async () => (await get()).body.status === 'degraded');
    expect(await get()).toEqual(degraded(/^1 records are in quarantine, 1 of them since ten minutes ago/));
    stack.proxy.fault = () => null;
    expect(await stack.memory.retryQuarantined(id)).toMatchObject({ committed: true });
    expect(await get()).toEqual(ok);
  });

  test('is degraded while a record has been pending for more than two flush intervals', async () => {
    const schedule = { MEMORY_FLUSH_STRATEGY: 'interval', MEMORY_FLUSH_INTERVAL_MS: '1000' };
    const get = await startHealthy('flush', schedule);
    await stack.startWorkers('chat');
    stack.proxy.fault = ({ method }) => (method === 'POST' ? { status: 503 } : null);
    await stack.memory.saveChat(turn(stack.newContextId(), 1), { wait: true });
    expect(await get()).toEqual(ok);
    await eventually(async () => (await get()).body.status === 'degraded');
    expect(await get()).toEqual(degraded(/^the oldest pending record has waited for \d+ s/));
    stack.proxy.fault = () => null;
    await eventually(async () => (await get()).body.status === 'ok');
  });

  test('is degraded while Redis is nearly full', async () => {
    const get = await startHealthy('chat');
    const used = Number(/used_memory:(\d+)/.exec(await stack.client.info('memory'))?.[1]);
    await stack.client.config('SET', 'maxmemory', String(Math.ceil(used / 0.95)));
    expect(await get()).toEqual(degraded(/^Redis is nearly full/));
    await stack.client.config('SET', 'maxmemory', '0');
    expect(await get()).toEqual(ok);
  });

  test.each(['chat', 'flush'] as const)(
    'of kind %s is degraded, not stuck, while the queue chat is paused',
    async (kind) => {
      const get = await startHealthy(kind);
      await stack.queue('chat').pause();
      await stack.memory.saveChats(turns(stack.newContextId(), 3));
      expect(await get()).toEqual(degraded(/^queue chat is paused: /));
      await stack.queue('chat').resume();
      await eventually(async () => (await get()).body.status === 'ok');
    },
  );
});

describe('after thirty seconds', () => {
  let parts: WorkerParts;
  beforeEach(() => {
    parts = connectWorker(loadConfig(stack.environment, STORE_SETTINGS), createLogger('silent', 'test'));
  });
  afterEach(() => parts.close());

  test('a worker with jobs that gets on with none is unready, one that moves or has nothing to do is not', async () => {
    const { promise: freed, resolve: free } = Promise.withResolvers<void>();
    const queueWorker = startQueueWorker('chat', 1, parts, () => freed);
    const progress = new Progress([queueWorker], parts);
    const check = async () => progress.check(queueWorker.lastMove() + THIRTY_SECONDS);
    expect(await check()).toMatchObject({ status: 'ok' });

    await stack.memory.saveChats(turns(stack.newContextId(), 3));
    await eventually(() => queueWorker.inHand().length === 1);
    expect((await progress.check()).status).toBe('ok');
    const reason = 'queue chat: 2 jobs wait, 1 are in hand, and none has moved for 30 s';
    expect(await check()).toEqual({ status: 'unready', ready: false, reasons: [reason] });

    free();
    await stack.idle('chat');
    expect(await check()).toMatchObject({ status: 'ok' });
    await queueWorker.worker.close();
    expect(await check()).toMatchObject({ status: 'unready', reasons: ['the worker of queue chat does not run'] });
  });

  test('a long job that reports progress is not stuck', async () => {
    const { promise: freed, resolve: free } = Promise.withResolvers<void>();
    const queueWorker = startQueueWorker('chat', 1, parts, async (job) => {
      await freed;
      await job.updateProgress({ half: 'done' });
      await new Promise(() => undefined);
    });
    await stack.memory.saveChat(turn(stack.newContextId(), 1));
    await eventually(() => queueWorker.inHand().length === 1);
    const begun = queueWorker.lastMove();
    free();
    await eventually(() => queueWorker.lastMove() > begun);
    expect(queueWorker.inHand()).toHaveLength(1);
    await queueWorker.handBack();
    await queueWorker.worker.close(true);
  });
});

test.each([
  ['the hour has passed and it is still there', '2026-01-02T03:30:00.000Z', '2026-01-02T02:59:00.000Z', 'degraded'],
  ['it came after the hour', '2026-01-02T03:30:00.000Z', '2026-01-02T03:01:00.000Z', 'ok'],
  ['the hour has only just come', '2026-01-02T03:10:00.000Z', '2026-01-01T03:01:00.000Z', 'ok'],
  ['a whole day was missed', '2026-01-02T03:10:00.000Z', '2026-01-01T02:59:00.000Z', 'degraded'],
])('an off-peak flush at 3: %s', async (_name, now, arrived, status) => {
  const environment = { ...stack.environment, MEMORY_FLUSH_OFF_PEAK_CRON: '0 3 * * *' };
  const parts = connectWorker(loadConfig(environment, STORE_SETTINGS), createLogger('silent', 'test'));
  await stack.client.xadd('memory:pending', `${Date.parse(arrived)}-0`, 'id', 'x');
  expect(await new Progress([], parts).check(Date.parse(now))).toMatchObject({ status });
  await parts.close();
});
