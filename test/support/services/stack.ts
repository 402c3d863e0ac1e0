/**
 * **test/support/services/**: the real parts that tests run on: Redis, a Redis Cluster, Supabase on PostgREST and embedded,
 * IPFS.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { type EmbeddedIpfs, startIpfs } from '../../../embedded/ipfs.ts';
import { type EmbeddedRedis, type EmbeddedRedisOptions, startRedis } from '../../../embedded/redis.ts';
import { MemoryCore } from '../../../producers/index.ts';
import type { QueueName } from '../../../shared/queues.ts';
import { WORKER_KINDS, type WorkerKind } from '../../../workers/kinds.ts';
import { type RunningWorker, startWorker } from '../../../workers/worker.ts';
import { eventually } from '../faults/eventually.ts';
import { type FaultProxy, startFaultProxy } from '../faults/fault-proxy.ts';
import { type SupabaseName, type SupabaseService, supabaseService } from './supabase-service.ts';

/** Real parts for one test file: a Redis and an IPFS of its own, and a shared Supabase behind a proxy that can fail. */
export interface Stack {
  environment: Record<string, string>;
  /** Stopped with the stack; a test that starts it again puts the new one here. */
  redis: EmbeddedRedis;
  /** A plain client, to look into Redis from outside. */
  client: Redis;
  ipfs: EmbeddedIpfs;
  /** Stands between Mnemoq and Supabase. */
  proxy: FaultProxy;
  /** supabase-js with the service key, past the proxy, to look into Supabase from outside. */
  supabase: SupabaseClient;
  memory: MemoryCore;
  /** Starts workers in this process; all three kinds without arguments. Stopped with the stack at the latest. */
  startWorkers(...kinds: WorkerKind[]): Promise<RunningWorker[]>;
  queue(name: QueueName): Queue;
  /** A conversation nobody else uses. */
  newContextId(): string;
  /** Resolves when the queue has nothing left to do. */
  idle(name: QueueName, withinMs?: number): Promise<void>;
  stop(): Promise<void>;
}

export interface StackOptions {
  /** Without it, the chosen one that all files share. */
  supabase?: SupabaseName | SupabaseService;
  environment?: Record<string, string>;
  redis?: EmbeddedRedisOptions;
}

/** Outside view of a Supabase, with any of its keys. */
export function supabaseClient(url: string, key: string, userToken?: string): SupabaseClient {
  return createClient(url, key, {
    auth: { persistSession: false, autoRefreshToken: false },
    ...(userToken !== undefined && { global: { headers: { authorization: `Bearer ${userToken}` } } }),
  });
}

export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-stack-'));
  const { supabase } = options;
  const service = typeof supabase === 'object' ? supabase : supabaseService(supabase);
  const [redis, ipfs, proxy] = await Promise.all([
    startRedis(path.join(dir, 'redis'), options.redis),
    startIpfs(path.join(dir, 'ipfs')),
    startFaultProxy(service.url),
  ]);
  const environment = {
    REDIS_URL: redis.url,
    SUPABASE_URL: proxy.url,
    SUPABASE_SERVICE_ROLE_KEY: service.serviceKey,
    IPFS_API_URL: ipfs.url,
    MEMORY_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    MEMORY_SIGNING_KEY: randomBytes(32).toString('base64'),
    MEMORY_API_KEYS: `tester:${randomBytes(24).toString('base64url')}`,
    MEMORY_LOG_LEVEL: 'silent',
    // Flushes come only when a test asks for them: an interval would begin with one.
    MEMORY_FLUSH_STRATEGY: 'off-peak',
    MEMORY_FLUSH_OFF_PEAK_CRON: '0 0 1 1 *',
    MNEMOQ_DATA_DIR: dir,
    ...options.environment,
  };
  const client = new Redis(redis.url, { lazyConnect: false });
  client.on('error', () => undefined); // tests stop Redis on purpose
  const memory = new MemoryCore(environment);
  const queues = new Map<QueueName, Queue>();
  const workers: RunningWorker[] = [];

  const queue = (name: QueueName): Queue => {
    const known = queues.get(name);
    if (known) return known;
    const opened = new Queue(name, { connection: client });
    opened.on('error', () => undefined);
    queues.set(name, opened);
    return opened;
  };

  const stack: Stack = {
    environment,
    redis,
    client,
    ipfs,
    proxy,
    supabase: supabaseClient(service.url, service.serviceKey),
    memory,
    async startWorkers(...kinds) {
      const chosen = kinds.length > 0 ? kinds : WORKER_KINDS;
      const started = await Promise.all(chosen.map((kind) => startWorker(kind, environment)));
      workers.push(...started);
      return started;
    },
    queue,
    newContextId: () => `test ${randomUUID()}`,
    async idle(name, withinMs) {
      await eventually(async () => {
        const { waiting = 0, active = 0, delayed = 0 } = await queue(name).getJobCounts('waiting', 'active', 'delayed');
        return waiting + active + delayed === 0;
      }, withinMs);
    },
    stop: once(async () => {
      await memory.close();
      await Promise.all(workers.map((worker) => worker.stop()));
      await Promise.all([...queues.values()].map((each) => each.close()));
      client.disconnect();
      await Promise.all([stack.redis.stop(), ipfs.stop(), proxy.stop()]);
      rmSync(dir, { recursive: true, force: true });
    }),
  };
  return stack;
}

/** Some tests stop their stack before Redis comes back under another process; the hook after each stops it anyway. */
function once(stop: () => Promise<void>): () => Promise<void> {
  let stopped: Promise<void> | null = null;
  return () => (stopped ??= stop());
}
