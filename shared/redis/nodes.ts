import { Redis } from 'ioredis';
import type { RedisClient } from './connection.ts';

/** The nodes that take writes, each with its own memory and settings: the masters of a cluster, or the one Redis. */
export async function mastersOf(redis: RedisClient): Promise<Redis[]> {
  if (redis instanceof Redis) return [redis];
  if (redis.status !== 'ready') await redis.ping(); // is answered when the cluster has told of its nodes
  return redis.nodes('master');
}

/** The keys of a pattern, about `count` at a time. A key that comes or goes meanwhile may be missing, some may come twice. */
export async function* scanKeys(redis: RedisClient, pattern: string, count: number): AsyncGenerator<string[]> {
  for (const master of await mastersOf(redis)) {
    yield* master.scanStream({ match: pattern, count }) as AsyncIterable<string[]>;
  }
}
