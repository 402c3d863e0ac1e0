import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ProxiedRequest } from '../support/faults/fault-proxy.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';

/** What PostgreSQL says of a NUL: 22021 in text, 22P05 in JSON. */
const REFUSAL = /22021|22P05/;

/** An insert of records, as opposed to a read. */
function isInsert({ method, url }: ProxiedRequest): boolean {
  return method === 'POST' && url.startsWith('/rest/v1/memories');
}

describe.each([CHOSEN_SUPABASE])('flush, on the %s Supabase', (supabase) => {
  let stack: Stack;
  beforeEach(async () => {
    // Flushes are asked for by the tests, not by a thousand pending records; rows are spoilt and mended in their text caches.
    const environment = { MEMORY_FLUSH_MAX_PENDING: '5000', MEMORY_TEXT_CACHE: 'plain' };
    stack = await startStack({ supabase, environment });
    await stack.startWorkers('chat');
  });
  afterEach(() => stack.stop());

  async function cache(...inputs: ReturnType<typeof turns>): Promise<string[]> {
    const ids = idsOf(await stack.memory.saveChats(inputs));
    await stack.idle('chat');
    return ids;
  }

  async function idsInSupabase(contextId: string): Promise<string[]> {
    const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId).order('id');
    return (data ?? []).map(({ id }) => id as string);
  }

  test('commits 150 pending turns of one conversation, each once', async () => {
    const contextId = stack.newContextId();
    const ids = await cache(...turns(contextId, 150));
    const asked = await stack.memory.flushRedisToSupabase({ wait: false });
    expect(asked).toMatchObject({ success: true, flushedCount: 0, reason: 'queued; not waited for' });
    await stack.queue('flush').drain();
    await stack.startWorkers('flush');
    const result = await stack.memory.flushRedisToSupabase({ batchSize: 40 });
    expect(result).toMatchObject({ success: true, totalPending: 150, flushedCount: 150, failedCount: 0 });
    expect(result.batches).toBeGreaterThanOrEqual(4);
    expect(await idsInSupabase(contextId)).toEqual(ids.toSorted());
    expect((await stack.memory.getStats()).pendingQueueLength).toBe(0);
  });

  test('two flush workers at once share the work and commit each record once', async () => {
    const contextId = stack.newContextId();
    const ids = await cache(...turns(contextId, 300));
    await stack.startWorkers('flush', 'flush');
    // Neither gets anything committed before each of them has taken some: one alone could otherwise do all of it.
    const inHand = async () => {
      const consumers = (await stack.client.xinfo('CONSUMERS', 'memory:pending', 'flush')) as unknown[][];
      return consumers.filter((about) => Number(about[about.indexOf('pending') + 1]) > 0).length;
    };
    const bothAtWork = eventually(async () => (await inHand()) === 2);
    stack.proxy.fault = (request) => (isInsert(request) ? { until: bothAtWork } : null);
    const results = await Promise.all([
      stack.memory.flushRedisToSupabase({ batchSize: 20 }),
      stack.memory.flushRedisToSupabase({ batchSize: 20 }),
    ]);
    await bothAtWork;
    expect(results.map(({ success }) => success)).toEqual([true, true]);
    for (const { flushedCount } of results) expect(flushedCount).toBeGreaterThan(0);
    expect(results.reduce((sum, { flushedCount }) => sum + flushedCount, 0)).toBe(300);
    expect(await idsInSupabase(contextId)).toEqual(ids.toSorted());
  });

  test('that fails half way keeps the rest, and the next one commits exactly that', async () => {
    const contextId = stack.newContextId();
    const ids = await cache(...turns(contextId, 100));
    await stack.startWorkers('flush');
    let inserts = 0;
    stack.proxy.fault = (request) => (isInsert(request) && ++inserts > 3 ? { status: 500 } : null);
    const failed = await stack.memory.flushRedisToSupabase({ batchSize: 10 });
    expect(failed).toMatchObject({ success: false, totalPending: 100, flushedCount: 30, failedCount: 0 });
    expect(failed.reason).toMatch(/outage .*500/);
    expect(await stack.memory.getStats()).toMatchObject({ pendingQueueLength: 70, quarantined: 0 });
    expect((await stack.memory.getMemoryContext(contextId, { limit: 1000 })).items).toHaveLength(100);
    stack.proxy.fault = () => null;
    expect((await stack.memory.flushRedisToSupabase()).success).toBe(true);
    expect(await idsInSupabase(contextId)).toEqual(ids.toSorted());
  });

  test('tries again by itself after an outage, with one retry waiting however many flushes failed', async () => {
    const contextId = stack.newContextId();
    const ids = await cache(...turns(contextId, 5));
    await stack.startWorkers('flush');
    stack.proxy.fault = (request) => (isInsert(request) ? 'reset' : null);
    for (let i = 0; i < 3; i++) expect((await stack.memory.flushRedisToSupabase()).success).toBe(false);
    const waiting = await stack.queue('flush').getJobs(['delayed', 'waiting', 'active']);
    expect(waiting.filter(({ data }) => data.reason === 'retry')).toHaveLength(1);
    stack.proxy.fault = () => null;
    await eventually(async () => (await idsInSupabase(contextId)).length === 5);
    expect(await idsInSupabase(contextId)).toEqual(ids.toSorted());
  });

  test('whose answer was lost after Supabase had committed ends with one row each, and reads stay right', async () => {
    const contextId = stack.newContextId();
    const ids = await cache(...turns(contextId, 10));
    await stack.startWorkers('flush');
    stack.proxy.beforeAnswer = (request) => (isInsert(request) ? 'reset' : null);
    expect((await stack.memory.flushRedisToSupabase()).success).toBe(false);
    stack.proxy.beforeAnswer = () => null;
    expect(await idsInSupabase(contextId)).toHaveLength(10);
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true });
    expect(await idsInSupabase(contextId)).toEqual(ids.toSorted());
    const read = await stack.memory.loadRecentContext(contextId);
    expect(read.items.map(({ userMessage }) => userMessage)).toEqual(
      turns(contextId, 10).map(({ userMessage }) => userMessage),
    );
  });

  test.each([
    ['401', { status: 401, body: { message: 'Invalid API key' } }],
    ['a missing table', { status: 404, body: { code: 'PGRST205', message: 'no table' } }],
    ['408', { status: 408 }],
    ['429', { status: 429, headers: { 'retry-after': '1' } }],
    ['503', { status: 503 }],
    ['a statement timeout', { status: 500, body: { code: '57014', message: 'canceling statement' } }],
    ['a cut connection', 'reset' as const],
  ])('never blames a row for %s', async (_name, fault) => {
    const contextId = stack.newContextId();
    await cache(...turns(contextId, 8));
    await stack.startWorkers('flush');
    stack.proxy.fault = (request) => (isInsert(request) ? fault : null);
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({
      success: false,
      flushedCount: 0,
      failedCount: 0,
    });
    expect(await stack.memory.getStats()).toMatchObject({ quarantined: 0, pendingQueueLength: 8 });
  });

  test('gives up on a Supabase that hangs, and keeps everything', async () => {
    await stack.stop();
    stack = await startStack({ supabase, environment: { MEMORY_SUPABASE_TIMEOUT_MS: '300' } });
    await stack.startWorkers('chat', 'flush');
    const contextId = stack.newContextId();
    await cache(...turns(contextId, 3));
    stack.proxy.fault = (request) => (isInsert(request) ? 'hang' : null);
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: false, flushedCount: 0 });
    expect((await stack.memory.getStats()).pendingQueueLength).toBe(3);
  });

  test('finds the bad rows by halving, quarantines them alone, and commits the rest in the same run', async () => {
    const contextId = stack.newContextId();
    const ids = await cache(...turns(contextId, 1000));
    const bad = [ids[0], ids[617], ids[999]] as string[];
    for (const id of bad) await spoil(contextId, id);
    await stack.startWorkers('flush');
    const before = stack.proxy.requests.filter(isInsert).length;
    const result = await stack.memory.flushRedisToSupabase({ batchSize: 1000 });
    expect(result).toMatchObject({ success: true, flushedCount: 997, failedCount: 3 });
    const requests = stack.proxy.requests.filter(isInsert).length - before;
    expect(requests).toBeLessThanOrEqual(1 + 2 * bad.length * Math.ceil(Math.log2(1000)));
    expect(await idsInSupabase(contextId)).toEqual(ids.filter((id) => !bad.includes(id)).toSorted());

    await eventually(async () => (await stack.memory.listQuarantined()).items.length === 3);
    const { items: listed } = await stack.memory.listQuarantined();
    expect(listed.map(({ id }) => id).toSorted()).toEqual(bad.toSorted());
    const firstPage = await stack.memory.listQuarantined({ limit: 2 });
    const rest = await stack.memory.listQuarantined({ limit: 2, cursor: firstPage.nextCursor ?? '' });
    expect([...firstPage.items, ...rest.items]).toEqual(listed);
    expect([firstPage.complete, rest.nextCursor]).toEqual([true, null]);
    expect((await stack.memory.listQuarantined({ userId: 'somebody else' })).items).toEqual([]);
    expect((await stack.memory.listQuarantined({ userId: listed[0]?.userId ?? '' })).items.length).toBeGreaterThan(0);
    await expect(stack.memory.listQuarantined({ cursor: 'abc' })).rejects.toMatchObject({ code: 'invalid_input' });
    expect(listed.every(({ supabaseCode, reason }) => REFUSAL.test(supabaseCode ?? '') && REFUSAL.test(reason))).toBe(
      true,
    );
    expect(await stack.memory.getStatus(bad[0] ?? '')).toMatchObject({
      status: 'quarantined',
      reason: expect.stringMatching(REFUSAL),
    });
    expect(await stack.memory.getStats()).toMatchObject({ quarantined: 3, status: 'degraded', pendingQueueLength: 0 });
    // They are still in every read, and nothing of their conversation expires.
    expect((await stack.memory.getMemoryContext(contextId, { limit: 1000 })).items).toHaveLength(1000);
    expect(await stack.client.ttl(`memory:conversation:${contextId}`)).toBe(-1);
  });

  test('a quarantined record goes back as long as it is refused, and is committed once it is mended', async () => {
    const contextId = stack.newContextId();
    const [id = ''] = await cache(turn(contextId, 1));
    await spoil(contextId, id);
    await stack.startWorkers('flush');
    await stack.memory.flushRedisToSupabase();
    const job = await eventually(async () => {
      const found = await stack.queue('quarantine').getJob(id);
      return (await found?.isFailed()) ? found : null;
    });
    expect(await stack.memory.retryQuarantined(id)).toMatchObject({
      committed: false,
      reason: expect.stringMatching(REFUSAL),
    });
    const { tokens } = job?.data.row ?? {};
    // Mended in its tokens as well: the answer's in the place of the question's.
    const asked = await stack.memory.retryQuarantined(id, { wait: false });
    expect(asked).toEqual({ committed: false, reason: 'queued; a flush worker tries it' });
    await stack.idle('quarantine');
    // From now on the conversation is known to be cached from its beginning, so that reads need no Supabase.
    await stack.memory.loadRecentContext(contextId);
    expect(await stack.client.hexists(`memory:conversation:${contextId}`, 'floor')).toBe(1);
    const mended = { ...job?.data.row, text_cache: 'mended', tokens: { ...tokens, user: tokens.assistant } };
    expect(await stack.memory.retryQuarantined(id, { row: mended })).toEqual({ committed: true, reason: null });
    expect(await idsInSupabase(contextId)).toEqual([id]);
    expect(await stack.memory.getStatus(id)).toMatchObject({ status: 'committed' });
    // What is read is the mended row, and nothing of it is kept in Redis as uncommitted.
    for (const { items } of [
      await stack.memory.loadRecentContext(contextId),
      await stack.memory.getMemoryContext(contextId),
    ]) {
      expect(items).toMatchObject([{ id, userMessage: 'answer 1', assistantMessage: 'answer 1' }]);
    }
    expect(await stack.client.exists(`memory:uncommitted:${contextId}`)).toBe(0);
    const { data } = await stack.supabase.from('memories').select('text_cache').eq('id', id);
    expect(data).toEqual([{ text_cache: 'mended' }]);
    expect((await stack.memory.getStats()).quarantined).toBe(0);
  });

  test('a record in quarantine takes no row of another record or conversation', async () => {
    const contextId = stack.newContextId();
    const [id = ''] = await cache(turn(contextId, 1));
    await spoil(contextId, id);
    await stack.startWorkers('flush');
    await stack.memory.flushRedisToSupabase();
    await eventually(async () => (await stack.memory.getStatus(id)).status === 'quarantined');
    const { row } = (await stack.queue('quarantine').getJob(id))?.data ?? {};
    for (const other of [{ id: randomUUID() }, { context_id: stack.newContextId() }]) {
      const mended = { ...row, text_cache: 'mended', ...other };
      await expect(stack.memory.retryQuarantined(id, { row: mended })).rejects.toMatchObject({ code: 'invalid_input' });
    }
    expect(await idsInSupabase(contextId)).toEqual([]);
    expect((await stack.queue('quarantine').getJob(id))?.data.row).toEqual(row);
  });

  test('a record that is refused once more after it was mended and committed goes to quarantine once more', async () => {
    const contextId = stack.newContextId();
    const again = turn(contextId, 1, { idempotencyKey: 'again' });
    const [id = ''] = await cache(again);
    await spoil(contextId, id);
    await stack.startWorkers('flush');
    const refused = async () => {
      await stack.memory.flushRedisToSupabase();
      return eventually(async () => {
        const job = await stack.queue('quarantine').getJob(id);
        return (await job?.isFailed()) ? job : null;
      });
    };
    const row = { ...(await refused())?.data.row, text_cache: 'mended' };
    expect(await stack.memory.retryQuarantined(id, { row })).toMatchObject({ committed: true });
    // Its producer delivers it a second time, long after it has left queue and cache.
    await (await stack.queue('chat').getJob(id))?.remove();
    await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`);
    await cache(again);
    await spoil(contextId, id);
    await refused();
    expect((await stack.memory.listQuarantined()).items.map((listed) => listed.id)).toEqual([id]);
  });

  test('records a dead worker had taken are flushed by another', async () => {
    const contextId = stack.newContextId();
    const ids = await cache(...turns(contextId, 6));
    await stack.client.xgroup('CREATE', 'memory:pending', 'flush', '0', 'MKSTREAM');
    await stack.client.xreadgroup('GROUP', 'flush', 'dead', 'COUNT', 4, 'STREAMS', 'memory:pending', '>');
    const taken = await stack.client.xrange('memory:pending', '-', '+', 'COUNT', 4);
    // As if it had gone silent an hour ago.
    await stack.client.call(
      'XCLAIM',
      'memory:pending',
      'flush',
      'dead',
      0,
      ...taken.map(([entry]) => entry),
      'IDLE',
      3_600_000,
      'JUSTID',
    );
    await stack.startWorkers('flush');
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 6 });
    expect(await idsInSupabase(contextId)).toEqual(ids.toSorted());
  });

  test('comes by itself: on too many pending records and by the interval', async () => {
    await stack.stop();
    stack = await startStack({
      supabase,
      environment: {
        MEMORY_FLUSH_MAX_PENDING: '20',
        MEMORY_FLUSH_STRATEGY: 'interval',
        MEMORY_FLUSH_INTERVAL_MS: '86400000',
      },
    });
    await stack.startWorkers('chat', 'flush');
    await eventually(async () => (await stack.queue('flush').getCompletedCount()) === 1); // an interval begins with a flush
    const contextId = stack.newContextId();
    await cache(...turns(contextId, 20));
    await eventually(async () => (await idsInSupabase(contextId)).length === 20);

    await eventually(async () => (await stack.queue('flush').getCompletedCount()) === 2);
    const reasons = (await stack.queue('flush').getCompleted()).map(({ data }) => data.reason);
    expect(new Set(reasons)).toEqual(new Set(['interval', 'too-many-pending']));
    const [scheduled] = await stack.queue('flush').getJobSchedulers();
    expect(scheduled).toMatchObject({ key: 'flush', every: 86_400_000 });
  });

  /** Puts a NUL into a cached record, which PostgreSQL cannot store and no worker would write. */
  async function spoil(contextId: string, id: string): Promise<void> {
    const key = `memory:conversation:${contextId}`;
    const cached = JSON.parse((await stack.client.hget(key, id)) ?? '');
    await stack.client.hset(key, id, JSON.stringify({ ...cached, textCache: 'a\0b' }));
  }
});

test('off-peak flushing is scheduled by cron and time zone', async () => {
  const stack = await startStack({
    environment: {
      MEMORY_FLUSH_STRATEGY: 'off-peak',
      MEMORY_FLUSH_OFF_PEAK_CRON: '30 4 * * *',
      MEMORY_FLUSH_TZ: 'Asia/Taipei',
    },
  });
  try {
    await stack.startWorkers('flush');
    const [scheduled] = await stack.queue('flush').getJobSchedulers();
    expect(scheduled).toMatchObject({ pattern: '30 4 * * *', tz: 'Asia/Taipei' });
    const next = new Date(scheduled?.next ?? 0);
    expect(next.toISOString().slice(11, 19)).toBe('20:30:00'); // 04:30 in Taipei, which is UTC+8 all year
  } finally {
    await stack.stop();
  }
});

test('long texts are cut into batches by size, not only by count', async () => {
  const stack = await startStack();
  try {
    await stack.startWorkers('chat', 'flush');
    const contextId = stack.newContextId();
    const long = 'The quick brown fox. '.repeat(40_000); // about 0.8 MB, 200,000 tokens, 1.2 MB of JSON
    await stack.memory.saveChats(turns(contextId, 8).map((each) => ({ ...each, userMessage: long })));
    await stack.idle('chat');
    const result = await stack.memory.flushRedisToSupabase();
    expect(result).toMatchObject({ success: true, flushedCount: 8 });
    expect(result.batches).toBeGreaterThan(1);
    const inserts = stack.proxy.requests.filter(isInsert).map(({ body }) => body.length);
    expect(Math.max(...inserts)).toBeLessThan(6 * 1024 * 1024);
  } finally {
    await stack.stop();
  }
});

test('a record that lost its content in Redis is reported and blocks nothing', async () => {
  const stack = await startStack();
  try {
    await stack.startWorkers('chat', 'flush');
    const contextId = stack.newContextId();
    const [lost = '', kept = ''] = idsOf(await stack.memory.saveChats(turns(contextId, 2)));
    await stack.idle('chat');
    await stack.client.hdel(`memory:conversation:${contextId}`, lost);
    const result = await stack.memory.flushRedisToSupabase();
    expect(result).toMatchObject({ flushedCount: 1, failedCount: 1 });
    expect(await stack.memory.getStatus(kept)).toMatchObject({ status: 'committed' });
    expect((await stack.memory.getStats()).pendingQueueLength).toBe(0);
  } finally {
    await stack.stop();
  }
});
