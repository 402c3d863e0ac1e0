import path from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { startIpfs } from '../../embedded/ipfs.ts';
import { startRedis } from '../../embedded/redis.ts';
import { MemoryCore } from '../../producers/index.ts';
import { eventually } from '../support/faults/eventually.ts';
import { type HalfOpenProxy, startHalfOpenProxy } from '../support/faults/half-open-proxy.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';

/** Saves refused one after the other while Redis is away: some seconds. In test/deep/outages.test.ts it is away for a minute. */
const REFUSED = 6;
/** Tries in a day at the longest pause between two. */
const TRIES_OF_A_DAY = 1_440;

let stack: Stack;
const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  await stack.stop();
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

async function restartRedis(): Promise<void> {
  const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'redis');
  const again = await startRedis(dir, { port: stack.redis.port });
  cleanUps.unshift(() => again.stop());
}

async function idsInSupabase(contextId: string): Promise<string[]> {
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId).order('id');
  return (data ?? []).map(({ id }) => id as string);
}

describe('Redis', () => {
  test('away while saves come: they fail at once, all workers wake up by themselves', async () => {
    stack = await startStack({ environment: { MEMORY_REDIS_TIMEOUT_MS: '500' } });
    await stack.startWorkers();
    const contextId = stack.newContextId();
    const first = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await stack.redis.stop();
    for (let refused = 0; refused < REFUSED; refused += 1) {
      await expect(stack.memory.saveChat(turn(contextId, 2))).rejects.toMatchObject({ code: 'redis_unavailable' });
    }
    await restartRedis();

    const save = () => stack.memory.saveChat(turn(contextId, 3, { idempotencyKey: '3' }), { wait: true });
    const second = await eventually(() => save().catch(() => null));
    await eventually(async () => (await stack.memory.getStatus(second?.id ?? '')).status === 'cached');
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 2 });
    const { cid } = await stack.memory.saveReflection({ contextId, reflectionText: 'back again' }, { wait: true });
    expect(cid).not.toBeNull();
    expect(await idsInSupabase(contextId)).toEqual(expect.arrayContaining([first.id, second?.id]));
  });

  test('gone while a save is waited for: the receipt says queued, and later waits work again', async () => {
    stack = await startStack({ environment: { MEMORY_REDIS_TIMEOUT_MS: '500' } });
    const contextId = stack.newContextId();
    const waiting = stack.memory.saveChat(turn(contextId, 1), { wait: 2_000 });
    await eventually(async () => (await stack.queue('chat').getWaitingCount()) === 1);
    await stack.redis.stop();
    const receipt = await waiting;
    expect(receipt).toMatchObject({ redisStored: true, tokenCount: null, note: expect.stringMatching(/^queued; /) });
    await restartRedis();
    await stack.startWorkers('chat');
    const again = () => stack.memory.saveChat(turn(contextId, 1, { id: receipt.id }), { wait: true }).catch(() => null);
    await eventually(async () => (await again())?.tokenCount);
  });

  test('back after a first wait in vain: waiting is tried anew', async () => {
    stack = await startStack({ environment: { MEMORY_REDIS_TIMEOUT_MS: '300' } });
    await stack.startWorkers('chat');
    // Listening for the end of jobs is the one command that fails.
    await stack.client.acl('SETUSER', 'default', '-xrevrange');
    const contextId = stack.newContextId();
    expect((await stack.memory.saveChat(turn(contextId, 1), { wait: true })).tokenCount).toBeNull();
    await stack.client.acl('SETUSER', 'default', '+xrevrange');
    expect((await stack.memory.saveChat(turn(contextId, 2), { wait: true })).tokenCount).toBeGreaterThan(0);
  });

  describe('half open: connections stay and nothing comes through', () => {
    let wire: HalfOpenProxy;
    async function startBehindWire(environment: Record<string, string> = {}): Promise<MemoryCore> {
      stack = await startStack();
      wire = await startHalfOpenProxy(stack.redis.port);
      cleanUps.push(() => wire.stop());
      Object.assign(stack.environment, { REDIS_URL: `redis://127.0.0.1:${wire.port}`, ...environment });
      const memory = new MemoryCore(stack.environment);
      cleanUps.unshift(() => memory.close());
      return memory;
    }

    test('a producer fails in bounded time and is back as soon as the wire is', async () => {
      const memory = await startBehindWire({ MEMORY_REDIS_TIMEOUT_MS: '300' });
      const contextId = stack.newContextId();
      await memory.saveChat(turn(contextId, 1));
      wire.blackHole();
      await expect(memory.saveChat(turn(contextId, 2))).rejects.toMatchObject({ code: 'redis_unavailable' });
      wire.pass();
      await eventually(() => memory.saveChat(turn(contextId, 3)).catch(() => null));
    });
  });
});

describe('Supabase', () => {
  test('away for longer than the short term lives: everything pending is still there, readable, and then committed', async () => {
    stack = await startStack({ environment: { MEMORY_REDIS_TTL_SECONDS: '1', MEMORY_SHORT_TERM_LIMIT: '5' } });
    await stack.startWorkers('chat', 'flush');
    const [old, contextId] = [stack.newContextId(), stack.newContextId()];
    await stack.memory.saveChat(turn(old, 1), { wait: true });
    await stack.memory.flushRedisToSupabase();
    stack.proxy.fault = () => 'reset';
    const ids = idsOf(await stack.memory.saveChats(turns(contextId, 12)));
    await stack.idle('chat');
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: false, flushedCount: 0 });
    // What was committed before has expired meanwhile: so much time has passed.
    await eventually(async () => (await stack.client.exists(`memory:conversation:${old}`)) === 0);

    const { items: records, complete } = await stack.memory.getMemoryContext(contextId, {
      limit: 1000,
      allowPartial: true,
    });
    expect([complete, records.map(({ id }) => id)]).toEqual([false, ids]);
    await expect(stack.memory.getMemoryContext(contextId)).rejects.toMatchObject({ code: 'supabase_unavailable' });
    expect(await stack.memory.getStatus(ids[0] ?? '')).toMatchObject({ status: 'cached' });
    stack.proxy.fault = () => null;
    // A flush that failed comes again by itself, and may be first.
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true });
    expect(await idsInSupabase(contextId)).toEqual(ids);
    expect((await stack.memory.getMemoryContext(contextId, { limit: 1000 })).items.map(({ id }) => id)).toEqual(ids);
  });

  test('slow with large batches: the retry sends smaller ones', async () => {
    stack = await startStack({ environment: { MEMORY_FLUSH_BATCH_SIZE: '16' } });
    await stack.startWorkers('chat', 'flush');
    const contextId = stack.newContextId();
    const ids = idsOf(await stack.memory.saveChats(turns(contextId, 16)));
    await stack.idle('chat');
    // What PostgreSQL says when a statement takes longer than it may; here any with more than five rows.
    const timedOut = { status: 500, body: { code: '57014', message: 'canceling statement due to statement timeout' } };
    stack.proxy.fault = ({ method, body }) => (method === 'POST' && JSON.parse(body).length > 5 ? timedOut : null);
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: false, flushedCount: 0 });
    await eventually(async () => (await idsInSupabase(contextId)).length === 16);
    expect(await idsInSupabase(contextId)).toEqual(ids);
    expect((await stack.memory.getStats()).quarantined).toBe(0);
  });
});

describe('IPFS', () => {
  test('away for a day: the reflection is committed and readable at once, its CID follows, its status says so', async () => {
    stack = await startStack();
    await stack.ipfs.stop();
    await stack.startWorkers('reflection');
    const contextId = stack.newContextId();
    const { id } = await stack.memory.saveReflection({ contextId, reflectionText: 'patience' });
    await eventually(async () => (await idsInSupabase(contextId)).length === 1);
    const { items } = await stack.memory.loadRecentContext(contextId);
    expect(items).toMatchObject([{ id, text: 'patience', cid: null }]);
    const waiting = { status: 'committed', reason: 'not pinned yet', cid: null };
    expect(await stack.memory.getStatus(id)).toMatchObject(waiting);
    expect(await stack.memory.getReflectionCid(contextId)).toBeNull();

    const job = async () => stack.queue('reflection').getJob(id);
    const tried = async () => (await job())?.attemptsStarted ?? 0;
    const tryAgain = async () => {
      const before = await tried();
      await eventually(async () => (await job())?.isDelayed());
      await (await job())?.promote();
      await eventually(async () => (await tried()) > before);
      await eventually(async () => (await job())?.isDelayed());
    };
    await tryAgain();
    await stack.client.hset(`bull:reflection:${id}`, 'ats', TRIES_OF_A_DAY); // BullMQ's count of starts
    await tryAgain();
    expect(await tried()).toBeGreaterThan(TRIES_OF_A_DAY);
    expect((await job())?.delay).toBeLessThanOrEqual(60_000);
    expect(await stack.memory.getStatus(id)).toMatchObject(waiting);
    expect(await stack.queue('reflection').getFailedCount()).toBe(0);

    const port = Number(new URL(stack.ipfs.url).port);
    const ipfs = await startIpfs(path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'ipfs'), port);
    cleanUps.push(() => ipfs.stop());
    await (await job())?.promote().catch(() => undefined); // unless its minute is over just now
    await eventually(async () => (await stack.memory.getStatus(id)).status === 'pinned');
    const cid = await stack.memory.getReflectionCid(contextId);
    expect((await stack.memory.verify(cid ?? '')).ok).toBe(true);
  });
});
