import type { Redis } from 'ioredis';
import { MnemoqError } from '../errors.ts';
import type { Logger } from '../telemetry/log.ts';
import type { RedisClient } from './connection.ts';
import { mastersOf } from './nodes.ts';

/** The memory of one Redis; of a cluster that of its fullest node, for where it takes no more writes its part stands still. */
export interface RedisMemory {
  usedBytes: number;
  /** 0 when Redis has no limit. */
  maxBytes: number;
}

/**
 * Asks every node and judges by those that answer. A node that does not answer shows in the writes themselves. Throws when
 * none answers.
 */
export async function readMemory(redis: RedisClient): Promise<RedisMemory> {
  const answers = await Promise.allSettled((await mastersOf(redis)).map(memoryOf));
  const known = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
  const [fullest] = known.toSorted((a, b) => usedPercent(b) - usedPercent(a));
  if (fullest) return fullest;
  throw answers.find((answer) => answer.status === 'rejected')?.reason ?? new Error('no node of the cluster is known');
}

/** How much of its limit Redis uses; 0 without a limit. */
export function usedPercent({ usedBytes, maxBytes }: RedisMemory): number {
  return maxBytes === 0 ? 0 : (100 * usedBytes) / maxBytes;
}

async function memoryOf(node: Redis): Promise<RedisMemory> {
  const info = await node.info('memory');
  const read = (field: string) => Number(new RegExp(`^${field}:(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  return { usedBytes: read('used_memory'), maxBytes: read('maxmemory') };
}

/**
 * Stops a process whose Redis may throw away pending records: with a memory limit and an `allkeys-*` policy Redis evicts any
 * key. The volatile policies evict only keys that expire, and nothing uncommitted expires. Managed services may hide the
 * setting.
 */
export async function refuseEvictingRedis(redis: RedisClient, logger: Logger): Promise<void> {
  const policy = await evictionPolicy(redis);
  if (policy?.startsWith('allkeys-')) {
    throw new MnemoqError(
      'invalid_configuration',
      `REDIS_URL: expected a Redis with maxmemory-policy noeviction, found ${policy}, which loses pending records: ` +
        'run `redis-cli config set maxmemory-policy noeviction` and set it in redis.conf',
    );
  }
  if (policy === null) logger.warn('this Redis does not tell its maxmemory-policy: make sure that it is noeviction');
}

/** `maxmemory-policy`; of a cluster the least safe one of its nodes. Null when a server does not tell. */
export async function evictionPolicy(redis: RedisClient): Promise<string | null> {
  const policies = await Promise.all((await mastersOf(redis)).map(policyOf));
  const told = policies.filter((policy) => policy !== null);
  const unsafe = told.find((policy) => policy.startsWith('allkeys-')) ?? told.find((policy) => policy !== 'noeviction');
  if (unsafe !== undefined) return unsafe;
  return told.length === policies.length ? 'noeviction' : null;
}

async function policyOf(node: Redis): Promise<string | null> {
  const answer = await node.config('GET', 'maxmemory-policy').catch(() => []);
  return (answer as string[])[1] ?? null;
}
