import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { Queue } from 'bullmq';
import { v7 as uuidv7 } from 'uuid';
import { MemoryCore } from '../../producers/index.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { QUEUES } from '../../shared/queues.ts';
import { WORKER_KINDS } from '../../workers/kinds.ts';
import { type RunningWorker, startWorker } from '../../workers/worker.ts';
import { eventually } from '../support/faults/eventually.ts';
import {
  type ClusterNode,
  clusterPort,
  moveSlot,
  type RedisCluster,
  startRedisCluster,
} from '../support/services/redis-cluster.ts';
import { redisPrograms } from '../support/services/redis-programs.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { expectAllOnce, settled, startTraffic, type Traffic } from '../support/inputs/traffic.ts';
import { idsOf, turn } from '../support/inputs/turns.ts';

const CONVERSATIONS = 24;

/** How often a node has sent a command back because a slot's keys are partly here and partly there. */
async function tryAgains({ client }: ClusterNode): Promise<number> {
  return Number(/errorstat_TRYAGAIN:count=(\d+)/.exec(await client.info('errorstats'))?.[1] ?? 0);
}

describe.each(redisPrograms())('a cluster of %s', (_name, program) => {
  let stack: Stack;
  let cluster: RedisCluster;
  let environment: Record<string, string>;
  let memory: MemoryCore;
  let queues: Queue[];
  let stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    stack = await startStack();
    const dir = stack.environment['MNEMOQ_DATA_DIR'] ?? '';
    cluster = await startRedisCluster(dir, { program });
    environment = {
      ...stack.environment,
      REDIS_URL: cluster.url,
      MEMORY_REDIS_TIMEOUT_MS: '1500',
      MEMORY_FLUSH_STRATEGY: 'interval',
      MEMORY_FLUSH_INTERVAL_MS: '1000',
    };
    memory = new MemoryCore(environment);
    queues = QUEUES.map((name) => new Queue(name, { connection: cluster.client, prefix: '{bull}' }));
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
    stack.proxy.fault = () => null;
    await Promise.all(
      cluster.masters.map(({ client }) => client.config('SET', 'maxmemory', '0', 'maxmemory-policy', 'noeviction')),
    );
  });
  afterAll(async () => {
    await memory.close();
    await Promise.all(queues.map((queue) => queue.close()));
    await cluster.stop();
    await stack.stop();
  });

  async function startWorkers(): Promise<RunningWorker[]> {
    const workers = await Promise.all(WORKER_KINDS.map((kind) => startWorker(kind, environment)));
    stops.push(...workers.map((worker) => () => worker.stop()));
    return workers;
  }

  function newConversations(): string[] {
    return Array.from({ length: CONVERSATIONS }, () => stack.newContextId());
  }

  function startSaving(contextIds: readonly string[]): Traffic {
    const traffic = startTraffic(memory, contextIds);
    stops.unshift(() => traffic.stop());
    return traffic;
  }

  test('carries the whole way, with conversations spread over its nodes', async () => {
    await startWorkers();
    const contextIds = newConversations();
    const traffic = startSaving(contextIds);
    await traffic.acknowledged(300);
    await traffic.stop();
    await settled(queues, memory);
    const conversations = await Promise.all(cluster.masters.map(({ client }) => client.keys('memory:conversation:*')));
    expect(conversations.every((keys) => keys.length > 0)).toBe(true);
    await expectAllOnce(traffic, queues, memory, stack.supabase);
    expect(await memory.flushRedisToSupabase()).toMatchObject({ success: true, totalPending: 0 });
    const reflection = { contextId: contextIds[0] ?? '', reflectionText: 'on a cluster' };
    const receipt = await memory.saveReflection(reflection, { wait: true });
    expect(await memory.getStatus(receipt.id)).toMatchObject({ status: 'pinned', cid: receipt.cid });
    expect(await memory.verify(receipt.cid ?? '')).toMatchObject({ ok: true });
  });

  test('sets a refused record aside and commits it when it is retried', async () => {
    await startWorkers();
    const contextId = stack.newContextId();
    const [good, bad] = [uuidv7(), uuidv7()];
    const refused = { status: 400, body: { code: '23514', message: 'refused', details: null, hint: null } };
    stack.proxy.fault = ({ method, body }) => (method === 'POST' && body.includes(bad) ? refused : null);
    await memory.saveChats([turn(contextId, 1, { id: good }), turn(contextId, 2, { id: bad })]);
    await eventually(async () => (await memory.listQuarantined()).items.length === 1);
    expect(await memory.getStatus(bad)).toMatchObject({ status: 'quarantined' });
    expect((await memory.getMemoryContext(contextId)).items.map(({ id }) => id)).toEqual([good, bad]);
    expect(await memory.getStats()).toMatchObject({ quarantined: 1 });
    stack.proxy.fault = () => null;
    expect(await memory.retryQuarantined(bad)).toEqual({ committed: true, reason: null });
    expect((await memory.getMemoryContext(contextId)).items.map(({ id }) => id)).toEqual([good, bad]);
  });

  test('tells what happens on all its nodes, in order, and forgets a user on all of them', async () => {
    await startWorkers();
    const contextIds = newConversations();
    const stopping = new AbortController();
    const { events } = await memory.followEvents({ signal: stopping.signal });
    const told: { type: string; ids: string[] }[] = [];
    const following = (async () => {
      for await (const { event } of events) {
        const { data } = event as { data: { id?: string; records?: { id: string }[] } };
        told.push({ type: event.type, ids: data.records?.map(({ id }) => id) ?? [data.id ?? ''] });
      }
    })();
    const [anna, ben] = [uuidv7(), uuidv7()];
    const ids: Record<string, string[]> = {};
    for (const userId of [anna, ben]) {
      ids[userId] = idsOf(await memory.saveChats(contextIds.map((contextId, n) => turn(contextId, n, { userId }))));
    }
    const reflection = { contextId: contextIds[0] ?? '', userId: anna, reflectionText: 'hers' };
    const pinned = await memory.saveReflection(reflection, { wait: true });
    await settled(queues, memory);
    await memory.flushRedisToSupabase();
    const toldOf = (type: string) => told.filter((each) => each.type === type).flatMap((each) => each.ids);
    const saved = new Set([...(ids[anna] ?? []), ...(ids[ben] ?? []), pinned.id]);
    await eventually(() => toldOf('records.committed').length === saved.size);
    expect(new Set(toldOf('record.cached'))).toEqual(saved);
    expect(toldOf('record.cached')).toHaveLength(saved.size);
    expect(new Set(toldOf('records.committed'))).toEqual(saved);
    expect(toldOf('record.pinned')).toEqual([pinned.id]);
    expect(toldOf('events.missed')).toEqual([]);
    stopping.abort();
    await following;

    await memory.saveChats(contextIds.map((contextId, n) => turn(contextId, 100 + n, { userId: anna })));
    const { tiers } = await memory.forget({ userId: anna });
    expect(tiers).toMatchObject({ keysDestroyed: 1, unpinned: 1 });
    const reads = await Promise.all(contextIds.map((contextId) => memory.getMemoryContext(contextId)));
    expect(reads.map(({ items }) => items.map(({ id }) => id))).toEqual((ids[ben] ?? []).map((id) => [id]));
    const values = await Promise.all(
      cluster.masters.map(async ({ client }) => {
        const keys = await client.keys('*');
        const named = await Promise.all(keys.map(async (key) => (await client.dump(key))?.includes(anna)));
        return keys.filter((key, i) => named[i] && !key.startsWith('memory:erased'));
      }),
    );
    expect(values.flat()).toEqual([]);
    await expect(memory.saveChat(turn(contextIds[0] ?? '', 1, { userId: anna }))).rejects.toMatchObject({
      code: 'erased',
    });
    expect(await memory.liftErasure({ userId: anna })).toBe(true);
    await memory.saveChat(turn(contextIds[0] ?? '', 1, { userId: anna }), { wait: true });
  });

  test('loses nothing and doubles nothing when a node is killed and comes back', async () => {
    await startWorkers();
    const traffic = startSaving(newConversations());
    // Not the node with the queues: what its workers had in hand waits for locks to run out, as test/deep/cluster.test.ts does.
    const queueNode = await cluster.ownerOf(await cluster.slotOf('{bull}'));
    const node = cluster.masters.find((each) => each !== queueNode) as ClusterNode;
    await traffic.acknowledged(100);
    const refused = traffic.refused(1);
    await node.kill();
    await refused;
    await node.restart();
    await traffic.acknowledged(100);
    await traffic.stop();
    await settled(queues, memory);
    await expectAllOnce(traffic, queues, memory, stack.supabase);
    expect(new Set(traffic.refusals)).toEqual(new Set(['redis_unavailable']));
  });

  test.each([
    ['conversations', (contextId: string) => new Keys(true).shardOf(contextId)],
    ['the queues', () => '{bull}'],
  ])('goes on when the slot of %s moves to another node under way', async (_what, tagOf) => {
    await startWorkers();
    const contextIds = newConversations();
    const traffic = startSaving(contextIds);
    await traffic.acknowledged(100);
    const slot = await cluster.slotOf(tagOf(contextIds[0] ?? ''));
    const owner = await cluster.ownerOf(slot);
    const target = cluster.masters.find((node) => node !== owner) as ClusterNode;
    let tries = 0;
    await moveSlot(cluster, slot, target, async () => {
      const before = await tryAgains(owner);
      await eventually(async () => (tries = (await tryAgains(owner)) - before) > 10);
    });
    expect(tries).toBeGreaterThan(10);
    await traffic.acknowledged(100);
    await traffic.stop();
    await settled(queues, memory);
    await expectAllOnce(traffic, queues, memory, stack.supabase);
  });

  test('is reached through any node that is there', async () => {
    const port = await clusterPort();
    const [, hosts = ''] = cluster.url.split('//');
    const first = new MemoryCore({
      ...environment,
      REDIS_URL: `redis+cluster://nowhere.invalid,127.0.0.1:${port},${hosts}`,
    });
    const contextId = stack.newContextId();
    await expect(first.saveChat(turn(contextId, 1))).resolves.toMatchObject({ redisStored: true });
    await first.close();
  });

  test('takes no saves while one of its nodes is nearly full, whichever, and stats tell', async () => {
    for (const { client } of cluster.masters) {
      const used = Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
      await client.config('SET', 'maxmemory', String(Math.ceil(used / 0.97)));
      const watching = new MemoryCore(environment);
      await expect(watching.saveChat(turn('full', 1))).rejects.toMatchObject({ code: 'redis_full' });
      const { reasons, redisMaxBytes } = await watching.getStats();
      expect(reasons).toContainEqual(expect.stringContaining('nearly full'));
      expect(redisMaxBytes).toBe(Math.ceil(used / 0.97));
      await watching.close();
      await client.config('SET', 'maxmemory', '0');
    }
  });

  test('starts no worker while one of its nodes may throw away pending records, whichever', async () => {
    for (const { client } of cluster.masters) {
      await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
      await expect(startWorker('chat', environment)).rejects.toMatchObject({
        code: 'invalid_configuration',
        message: expect.stringContaining('allkeys-lru'),
      });
      await client.config('SET', 'maxmemory-policy', 'noeviction');
    }
  });
});
