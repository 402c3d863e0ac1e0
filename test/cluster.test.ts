import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { Queue } from 'bullmq';
import { MemoryCore } from '../producers/index.ts';
import { QUEUES } from '../shared/queues.ts';
import { type RunningWorker, startWorker, WORKER_KINDS } from '../workers/worker.ts';
import { eventually } from './support/eventually.ts';
import { moveSlot, type RedisCluster, startRedisCluster } from './support/redis-cluster.ts';
import { redisPrograms } from './support/redis-programs.ts';
import { startStack, type Stack } from './support/stack.ts';
import { startTraffic, type Traffic } from './support/traffic.ts';
import { turn, turns } from './support/turns.ts';
import { kill, startWorkerProcess } from './support/worker-process.ts';

const CONVERSATIONS = 24;
/** A job that was in hand on a node that died is taken up again when its lock has run out: half a minute, twice over. */
const SETTLED_WITHIN_MS = 150_000;

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

  async function startWorkerProcesses(): Promise<void> {
    const children: ChildProcess[] = await Promise.all(
      WORKER_KINDS.map((kind) => startWorkerProcess(kind, environment)),
    );
    stops.push(...children.map((child) => () => kill(child)));
  }

  function newConversations(): string[] {
    return Array.from({ length: CONVERSATIONS }, () => stack.newContextId());
  }

  function startSaving(contextIds: readonly string[]): Traffic {
    const traffic = startTraffic(memory, contextIds);
    stops.unshift(() => traffic.stop());
    return traffic;
  }

  /** Resolves when no queue has anything left to do and nothing is pending. */
  async function settled(): Promise<void> {
    await eventually(async () => {
      const counts = await Promise.all(queues.map((queue) => queue.getJobCounts('waiting', 'active')));
      const delayed = await Promise.all(
        queues.filter(({ name }) => name !== 'flush').map((queue) => queue.getDelayedCount()),
      );
      const left = counts.reduce((sum, { waiting = 0, active = 0 }) => sum + waiting + active, 0);
      const { pendingQueueLength } = await memory.getStats();
      return left + pendingQueueLength + delayed.reduce((sum, count) => sum + count, 0) === 0;
    }, SETTLED_WITHIN_MS);
  }

  /** What must be true whatever happened on the way. */
  async function expectAllOnce({ turns: saved, reflections, refusals }: Traffic): Promise<void> {
    for (const queue of queues) expect([queue.name, await queue.getFailedCount()]).toEqual([queue.name, 0]);
    expect(new Set(refusals)).toEqual(new Set(refusals.length > 0 ? ['redis_unavailable'] : []));
    for (const [contextId, ids] of saved) {
      const thoughts = reflections.get(contextId) ?? [];
      const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
      expect((data ?? []).map(({ id }) => id as string).toSorted()).toEqual([...ids, ...thoughts].toSorted());
      const { records } = await memory.getMemoryContext(contextId, { limit: 1000 });
      const said = records.filter(({ module }) => module === 'chat');
      expect(said.map(({ id, userMessage, assistantMessage }) => ({ id, userMessage, assistantMessage }))).toEqual(
        ids.map((id, n) => ({ id, userMessage: `question ${n}`, assistantMessage: `answer ${n}` })),
      );
      const thought = records.filter(({ module }) => module === 'reflection');
      expect(thought.map(({ id }) => id)).toEqual(thoughts);
      const recent = await memory.loadRecentContext(contextId, { limit: 10 });
      expect(recent.items.map(({ id }) => id)).toEqual(records.slice(-10).map(({ id }) => id));
      expect(await memory.getStatus(ids[0] ?? '')).toMatchObject({ status: 'committed' });
      for (const id of thoughts) expect(await memory.getStatus(id)).toMatchObject({ status: 'pinned' });
    }
  }

  test('carries the whole way, with conversations spread over its nodes', async () => {
    await startWorkers();
    const contextIds = newConversations();
    await memory.saveChats(contextIds.flatMap((contextId) => turns(contextId, 20)));
    const conversations = await Promise.all(cluster.masters.map(({ client }) => client.keys('memory:conversation:*')));
    await settled();
    expect(conversations.every((keys) => keys.length > 0)).toBe(true);
    for (const contextId of contextIds) {
      const { items } = await memory.loadRecentContext(contextId);
      expect(items.map(({ userMessage }) => userMessage)).toEqual(
        turns(contextId, 20).map(({ userMessage }) => userMessage),
      );
    }
    const [contextId = ''] = contextIds;
    const receipt = await memory.saveReflection({ contextId, reflectionText: 'on a cluster' }, { wait: true });
    expect(await memory.getStatus(receipt.id)).toMatchObject({ status: 'pinned', cid: receipt.cid });
  });
});
