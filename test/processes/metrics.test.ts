import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fastify from 'fastify';
import { Registry } from 'prom-client';
import { freePort } from '../../embedded/free-port.ts';
import { startDashboard } from '../../doors/dashboard/dashboard.ts';
import { startApi } from '../../doors/http/server.ts';
import { Metrics } from '../../shared/telemetry/metrics.ts';
import { addMetricsRoute, timeRequests } from '../../shared/telemetry/metrics-route.ts';
import type { WorkerKind } from '../../workers/kinds.ts';
import { eventually } from '../support/faults/eventually.ts';
import { parseMetrics } from '../support/clients/scrape.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn, turns } from '../support/inputs/turns.ts';

let stack: Stack;
beforeEach(async () => {
  stack = await startStack();
});
afterEach(() => stack.stop());

/** Starts a worker with a health port; gives what scrapes it. */
async function startScraped(kind: WorkerKind) {
  stack.environment['MEMORY_HEALTH_PORT'] = String(await freePort());
  const [worker] = await stack.startWorkers(kind);
  stack.environment['MEMORY_HEALTH_PORT'] = '0'; // for those that are started after it
  return async () => {
    const response = await fetch(`${worker?.healthUrl}/metrics`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; .*version=0\.0\.4/);
    return parseMetrics(await response.text());
  };
}

const refuse = { status: 400, body: { code: '23514', message: 'violates a check' } };

describe('what is done is counted', () => {
  test('turns, tokens, jobs, commits and flushes, as the receipts tell', async () => {
    const [chat, flush] = [await startScraped('chat'), await startScraped('flush')];
    const contextId = stack.newContextId();
    const saved = turns(contextId, 5);
    const receipts = await Promise.all(saved.map((each) => stack.memory.saveChat(each, { wait: true })));
    const tokens = receipts.reduce((sum, { tokenCount }) => sum + (tokenCount ?? 0), 0);
    const done = await chat();
    expect(tokens).toBeGreaterThan(0);
    expect(done.get('mnemoq_tokens_total{module="chat"}')).toBe(tokens);
    expect(done.get('mnemoq_records_cached_total{module="chat"}')).toBe(5);
    await eventually(async () => {
      return (await chat()).get('mnemoq_job_duration_seconds_count{queue="chat",outcome="done"}') === 5;
    });
    expect(done.get('process_resident_memory_bytes')).toBeGreaterThan(0);
    expect(done.has('mnemoq_redis_up')).toBe(false); // the flush worker tells the shared state

    const before = await flush();
    expect(before.get('mnemoq_redis_up')).toBe(1);
    expect(before.get('mnemoq_pending_records')).toBe(5);
    expect(before.get('mnemoq_pending_oldest_age_seconds')).toBeGreaterThan(0);
    expect(before.get('mnemoq_redis_memory_used_bytes')).toBeGreaterThan(0);
    expect(before.get('mnemoq_queue_jobs{queue="chat",state="completed"}')).toBe(5);

    await stack.memory.flushRedisToSupabase({ batchSize: 3 });
    const after = await flush();
    expect(after.get('mnemoq_pending_records')).toBe(0);
    expect(after.get('mnemoq_pending_oldest_age_seconds')).toBe(0);
    expect(after.get('mnemoq_records_committed_total{module="chat"}')).toBe(5);
    expect(after.get('mnemoq_commit_records_sum')).toBe(5);
    expect(after.get('mnemoq_commit_records_count')).toBe(2);
    expect(after.get('mnemoq_flush_records_sum')).toBe(5);
    expect(after.get('mnemoq_flush_duration_seconds_count{outcome="done"}')).toBe(1);
    expect(parseMetrics(await stack.memory.metrics.scrape()).get('mnemoq_saves_accepted_total{module="chat"}')).toBe(5);
  });

  test('a record delivered twice is one record', async () => {
    const chat = await startScraped('chat');
    const input = turn(stack.newContextId(), 1, { idempotencyKey: 'once' });
    const { id, tokenCount } = await stack.memory.saveChat(input, { wait: true });
    await (await stack.queue('chat').getJob(id))?.remove();
    await stack.memory.saveChat(input, { wait: true });
    expect((await chat()).get('mnemoq_tokens_total{module="chat"}')).toBe(tokenCount);
  });

  test('quarantine, failed flushes by kind, jobs that fail', async () => {
    await stack.startWorkers('chat');
    const flush = await startScraped('flush');
    await stack.memory.saveChat(turn(stack.newContextId(), 1), { wait: true });
    stack.proxy.fault = ({ method }) => (method === 'POST' ? { status: 503 } : null);
    await stack.memory.flushRedisToSupabase();
    stack.proxy.fault = ({ method }) => (method === 'POST' ? refuse : null);
    await stack.memory.flushRedisToSupabase();
    await eventually(async () => (await flush()).get('mnemoq_quarantined_records') === 1);
    const series = await flush();
    expect(series.get('mnemoq_records_quarantined_total')).toBe(1);
    expect(series.get('mnemoq_flush_failures_total{kind="outage"}')).toBe(1);
    expect(series.get('mnemoq_flush_duration_seconds_count{outcome="failed"}')).toBe(1);
    expect(series.get('mnemoq_commit_duration_seconds_count{outcome="refused"}')).toBe(1);
    expect(series.get('mnemoq_job_duration_seconds_count{queue="quarantine",outcome="failed"}')).toBe(1);
  });

  test('pins, and those that fail', async () => {
    const reflection = await startScraped('reflection');
    const contextId = stack.newContextId();
    await stack.memory.saveReflection({ contextId, reflectionText: 'one' }, { wait: true });
    expect((await reflection()).get('mnemoq_pin_duration_seconds_count{outcome="pinned"}')).toBe(1);
    await stack.ipfs.stop();
    await stack.memory.saveReflection({ contextId, reflectionText: 'two' });
    await eventually(async () => {
      const series = await reflection();
      const failed = series.get('mnemoq_pin_duration_seconds_count{outcome="ipfs_unavailable"}') ?? 0;
      const putOff = series.get('mnemoq_job_duration_seconds_count{queue="reflection",outcome="put_off"}') ?? 0;
      return failed > 0 && putOff > 0;
    });
  });

  test('refused saves by code, cache hits, misses and refills', async () => {
    await stack.startWorkers('chat', 'flush');
    const { memory } = stack;
    const contextId = stack.newContextId();
    await memory.saveChat(turn(contextId, 1), { wait: true });
    await memory.flushRedisToSupabase();
    await memory.loadRecentContext(contextId);
    await memory.loadRecentContext(contextId);
    await expect(memory.saveChat({} as never)).rejects.toMatchObject({ code: 'invalid_input' });
    const used = Number(/used_memory:(\d+)/.exec(await stack.client.info('memory'))?.[1]);
    await stack.client.config('SET', 'maxmemory', String(Math.ceil(used / 0.95)));
    await eventually(async () =>
      memory.saveChat(turn(contextId, 2)).then(
        () => false,
        ({ code }) => code === 'redis_full',
      ),
    );
    const series = parseMetrics(await memory.metrics.scrape());
    expect(series.get('mnemoq_cache_reads_total{outcome="miss"}')).toBe(1);
    expect(series.get('mnemoq_cache_reads_total{outcome="hit"}')).toBe(1);
    expect(series.get('mnemoq_cache_refills_total{outcome="filled"}')).toBe(1);
    expect(series.get('mnemoq_saves_refused_total{code="invalid_input"}')).toBe(1);
    expect(series.get('mnemoq_saves_refused_total{code="redis_full"}')).toBe(1);
  });
});

test('a scrape answers while Redis does not, and leaves out what it cannot know', async () => {
  const flush = await startScraped('flush');
  stack.redis.process.kill('SIGSTOP');
  try {
    const away = await flush();
    expect(away.get('mnemoq_redis_up')).toBe(0);
    expect(away.has('mnemoq_pending_records')).toBe(false);
    expect([...away.keys()].filter((series) => series.startsWith('mnemoq_queue_jobs'))).toEqual([]);
    expect(away.get('mnemoq_flush_duration_seconds_count{outcome="done"}')).toBe(0);
  } finally {
    stack.redis.process.kill('SIGCONT');
  }
  await eventually(async () => (await flush()).get('mnemoq_pending_records') === 0);
});

test('HTTP requests are counted by the pattern of their route', async () => {
  const metrics = new Metrics();
  const server = fastify();
  timeRequests(server, metrics);
  addMetricsRoute(server, metrics);
  server.get('/memory/context/:context_id', () => 'ok');
  await server.inject('/memory/context/secret-id');
  await server.inject('/memory/context/another');
  await server.inject('/guessed/path');
  const text = (await server.inject('/metrics')).body;
  const series = parseMetrics(text);
  const count = (route: string, status: number) =>
    series.get(`mnemoq_http_request_duration_seconds_count{method="GET",route="${route}",status="${status}"}`);
  expect(count('/memory/context/:context_id', 200)).toBe(2);
  expect(count('none', 404)).toBe(1);
  expect(text).not.toMatch(/secret-id|guessed/);
  await server.close();
});

describe('at the doors', () => {
  const ALICES = 'alices-key-0123456789';
  const withPage = () => stack.environment;
  const queuesAlone = () => {
    const { SUPABASE_URL: _url, ...rest } = stack.environment;
    return rest;
  };

  test.each([
    ['the HTTP API', startApi, withPage],
    ['the dashboard', startDashboard, withPage],
    ['a dashboard of queues alone', startDashboard, queuesAlone],
  ])('%s gives metrics to services, and at its health port to all', async (name, start, environment) => {
    const port = await freePort();
    const keys = stack.environment['MEMORY_API_KEYS'] ?? '';
    const door = await start(
      {
        ...environment(),
        MEMORY_API_PORT: '0',
        MEMORY_DASHBOARD_PORT: '0',
        MEMORY_HEALTH_PORT: String(port),
        MEMORY_API_KEYS: `${keys},web@alice:${ALICES}`,
      },
      '1.0.0',
    );
    try {
      const ask = async (path: string, key?: string) => {
        const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
        const response = await fetch(new URL(path, door.url), { headers });
        return { status: response.status, text: await response.text() };
      };
      expect((await ask('/metrics')).status).toBe(401);
      expect((await ask('/metrics', ALICES)).status).toBe(403);
      expect((await ask('/nowhere', keys.split(':')[1])).status).toBe(404);
      const { status, text } = await ask('/metrics', keys.split(':')[1]);
      const count = (route: string, answer: number) =>
        parseMetrics(text).get(
          `mnemoq_http_request_duration_seconds_count{method="GET",route="${route}",status="${answer}"}`,
        );
      expect([status, count('/metrics', 401), count('/metrics', 403), count('none', 404)]).toEqual([200, 1, 1, 1]);

      const inside = async (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
      expect(await (await inside('/health/live')).json()).toEqual({ live: true });
      expect(await (await inside('/health/ready')).json()).toMatchObject({ ready: true });
      const series = parseMetrics(await (await inside('/metrics')).text());
      expect(series.get('process_resident_memory_bytes')).toBeGreaterThan(0);
      expect(series.get('mnemoq_redis_up')).toBe(name === 'a dashboard of queues alone' ? undefined : 1);
      stack.redis.process.kill('SIGSTOP');
      try {
        expect((await inside('/health/ready')).status).toBe(503);
      } finally {
        stack.redis.process.kill('SIGCONT');
      }
      await eventually(async () => (await inside('/health/ready')).status === 200);
    } finally {
      await door.stop();
    }
    await expect(fetch(`http://127.0.0.1:${port}/health/live`)).rejects.toThrow('fetch failed');
  });

  test('a health port somebody else has is named, and nothing stays open', async () => {
    const taken = createServer();
    taken.listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const apiPort = await freePort();
    const environment = {
      ...stack.environment,
      MEMORY_API_PORT: String(apiPort),
      MEMORY_HEALTH_PORT: String(port),
    };
    await expect(startApi(environment, '1.0.0')).rejects.toMatchObject({
      code: 'invalid_configuration',
      message: expect.stringContaining('MEMORY_HEALTH_PORT'),
    });
    await expect(fetch(`http://127.0.0.1:${apiPort}/health/live`)).rejects.toThrow('fetch failed');
    taken.close();
  });
});

/** What docs/metrics.md must say: a row for every metric there is. */
function toTable(registry: Registry): string {
  const rows = registry.getMetricsAsArray().map((metric) => {
    const {
      name,
      help,
      type,
      labelNames = [],
    } = metric as unknown as {
      name: string;
      help: string;
      type: string;
      labelNames?: string[];
    };
    const unit = /_(seconds|bytes)$/.exec(name)?.[1] ?? '';
    return [`\`${name}\``, type, labelNames.map((label) => `\`${label}\``).join(' '), unit, help];
  });
  return rows.map((cells) => cells.join('|')).join('\n');
}

test('docs/metrics.md lists exactly what there is', () => {
  const page = readFileSync(path.join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  const rows = page.split('\n').filter((line) => line.startsWith('| `mnemoq_'));
  const cells = rows.map((row) =>
    row
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim())
      .join('|'),
  );
  expect(cells.join('\n')).toBe(toTable(stack.memory.metrics.registry));
});
