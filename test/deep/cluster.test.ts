/**
 * Nodes of a Redis Cluster that die or hang with the queues on them: jobs that were in hand are taken up again when their
 * locks have run out. In `npm test` a node without the queues is killed.
 */
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Queue } from 'bullmq';
import { MemoryCore } from '../../producers/index.ts';
import { QUEUES } from '../../shared/queues.ts';
import { WORKER_KINDS } from '../../workers/kinds.ts';
import { type RunningWorker, startWorker } from '../../workers/worker.ts';
import { eventually } from '../support/faults/eventually.ts';
import { type RedisCluster, startRedisCluster } from '../support/services/redis-cluster.ts';
import { redisPrograms } from '../support/services/redis-programs.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { kill, startWorkerProcess } from '../support/clients/worker-process.ts';
import { expectAllOnce, settled, startTraffic } from '../support/inputs/traffic.ts';

const CONVERSATIONS = 24;

let stack: Stack;
let cluster: RedisCluster;
let memory: MemoryCore;
let workers: RunningWorker[] = [];
let children: ChildProcess[] = [];
let queues: Queue[];
afterEach(async () => {
  for (const node of cluster.masters) node.process().kill('SIGCONT');
  await memory.close();
  await Promise.all(workers.splice(0).map((worker) => worker.stop()));
  await Promise.all(children.splice(0).map(kill));
  await Promise.all(queues.map((queue) => queue.close()));
  await cluster.stop();
  await stack.stop();
});

async function startCluster(program: string, replicas: boolean): Promise<Record<string, string>> {
  stack = await startStack();
  const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'cluster');
  cluster = await startRedisCluster(dir, { program, replicas });
  const environment = {
    ...stack.environment,
    REDIS_URL: cluster.url,
    MEMORY_REDIS_TIMEOUT_MS: '1500',
    MEMORY_FLUSH_STRATEGY: 'interval',
    MEMORY_FLUSH_INTERVAL_MS: '1000',
  };
  memory = new MemoryCore(environment);
  queues = QUEUES.map((name) => new Queue(name, { connection: cluster.client, prefix: '{bull}' }));
  return environment;
}

const newConversations = (count: number) => Array.from({ length: count }, () => stack.newContextId());

describe.each(redisPrograms())('a cluster of %s', (_name, program) => {
  test('loses nothing and doubles nothing when each node in turn is killed and comes back, under real processes', async () => {
    const environment = await startCluster(program, false);
    children = await Promise.all(WORKER_KINDS.map((kind) => startWorkerProcess(kind, environment)));
    const traffic = startTraffic(memory, newConversations(CONVERSATIONS));
    const queueNode = await cluster.ownerOf(await cluster.slotOf('{bull}'));
    for (const node of cluster.masters.toSorted((a) => (a === queueNode ? -1 : 1))) {
      await traffic.acknowledged(100);
      const refused = traffic.refused(CONVERSATIONS);
      await node.kill();
      await refused; // each had its answer while the node was away: no save hangs
      await node.restart();
    }
    await traffic.acknowledged(100);
    await traffic.stop();
    await settled(queues, memory);
    await expectAllOnce(traffic, queues, memory, stack.supabase);
    expect(new Set(traffic.refusals)).toEqual(new Set(['redis_unavailable']));
  });
});

describe.each(redisPrograms())('a cluster of %s with replicas', (_name, program) => {
  test('goes on when the node with the queues hangs without a word and its replica takes over', async () => {
    const environment = await startCluster(program, true);
    workers = await Promise.all(WORKER_KINDS.map((kind) => startWorker(kind, environment)));
    const traffic = startTraffic(memory, newConversations(12));
    await traffic.acknowledged(100);
    const slot = await cluster.slotOf('{bull}');
    const owner = await cluster.ownerOf(slot);
    owner.process().kill('SIGSTOP');
    await traffic.refused(1);
    const other = cluster.masters.find((node) => node !== owner);
    await eventually(async () => (await cluster.ownerOf(slot, other)) !== owner);
    await traffic.acknowledged(100);
    await traffic.stop();
    await settled(queues, memory);
    await expectAllOnce(traffic, queues, memory, stack.supabase);
    expect(cluster.replicas).toContain(await cluster.ownerOf(slot, other));
  });
});
