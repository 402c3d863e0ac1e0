import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Cluster } from 'ioredis';
import { type EmbeddedRedis, startRedis } from '../embedded/redis.ts';
import { MemoryCore } from '../producers/index.ts';
import { type RunningWorker, startWorker } from '../workers/worker.ts';
import { eventually } from './support/eventually.ts';
import { startStack, type Stack } from './support/stack.ts';
import { turns } from './support/turns.ts';

let stack: Stack;
let nodes: EmbeddedRedis[];
let environment: Record<string, string>;
let workers: RunningWorker[];
let memory: MemoryCore;

/** A Redis Cluster of three real nodes on loopback. */
beforeAll(async () => {
  stack = await startStack();
  const dir = stack.environment['MNEMOQ_DATA_DIR'] ?? '';
  const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'];
  nodes = await Promise.all([0, 1, 2].map((n) => startRedis(path.join(dir, `node-${n}`), { args: cluster })));
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
  execFileSync('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-replicas', '0', '--cluster-yes']);
  environment = { ...stack.environment, REDIS_URL: `redis+cluster://${addresses[0]}` };
  const client = new Cluster([{ host: '127.0.0.1', port: nodes[0]?.port ?? 0 }]);
  await eventually(async () => /cluster_state:ok/.test(await client.cluster('INFO')));
  client.disconnect();
  workers = await Promise.all((['chat', 'reflection', 'flush'] as const).map((kind) => startWorker(kind, environment)));
  memory = new MemoryCore(environment);
});
afterAll(async () => {
  await memory.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all(nodes.map((node) => node.stop()));
  await stack.stop();
});

test('the whole way works on a Redis Cluster, with conversations spread over its nodes', async () => {
  const contextIds = Array.from({ length: 24 }, () => stack.newContextId());
  await memory.saveChats(contextIds.flatMap((contextId) => turns(contextId, 5)));
  await eventually(async () => (await memory.getStats()).pendingQueueLength === 120);
  const nodesUsed = nodes.map(({ port }) => {
    const keys = execFileSync('redis-cli', ['-p', String(port), 'keys', 'memory:conversation:*']);
    return keys.toString().trim();
  });
  expect(nodesUsed.filter((keys) => keys !== '')).toHaveLength(3);
  expect(await memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 120, failedCount: 0 });
  for (const contextId of contextIds) {
    const { items } = await memory.loadRecentContext(contextId);
    expect(items.map(({ userMessage }) => userMessage)).toEqual(
      turns(contextId, 5).map(({ userMessage }) => userMessage),
    );
  }
  const [contextId = ''] = contextIds;
  const receipt = await memory.saveReflection({ contextId, reflectionText: 'on a cluster' }, { wait: true });
  expect(await memory.getStatus(receipt.id)).toMatchObject({ status: 'pinned', cid: receipt.cid });
});
