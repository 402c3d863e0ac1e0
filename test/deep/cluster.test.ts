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
import { expectAllOnce, settled, startTraffic } from '../support/inputs/traffic.ts';

let stack: Stack;
let cluster: RedisCluster;
let memory: MemoryCore;
let workers: RunningWorker[];
let queues: Queue[];
afterEach(async () => {
  for (const node of cluster.masters) node.process().kill('SIGCONT');
  await memory.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all(queues.map((queue) => queue.close()));
  await cluster.stop();
  await stack.stop();
});

describe.each(redisPrograms())('a cluster of %s with replicas', (_name, program) => {
  test('goes on when the node with the queues hangs without a word and its replica takes over', async () => {
    stack = await startStack();
    const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'cluster');
    cluster = await startRedisCluster(dir, { program, replicas: true });
    const environment = {
      ...stack.environment,
      REDIS_URL: cluster.url,
      MEMORY_REDIS_TIMEOUT_MS: '1500',
      MEMORY_FLUSH_STRATEGY: 'interval',
      MEMORY_FLUSH_INTERVAL_MS: '1000',
    };
    memory = new MemoryCore(environment);
    queues = QUEUES.map((name) => new Queue(name, { connection: cluster.client, prefix: '{bull}' }));
    workers = await Promise.all(WORKER_KINDS.map((kind) => startWorker(kind, environment)));
    const traffic = startTraffic(
      memory,
      Array.from({ length: 12 }, () => stack.newContextId()),
    );
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
