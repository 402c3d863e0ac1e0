import type { Redis } from 'ioredis';

/** What Redis has done since its start: microseconds by command. Those of a script count within its EVALSHA as well. */
export type RedisLoad = ReadonlyMap<string, { calls: number; usec: number }>;

export async function readRedisLoad(redis: Redis): Promise<RedisLoad> {
  const lines = (await redis.info('commandstats')).matchAll(/^cmdstat_(\S+?):calls=(\d+),usec=(\d+)/gm);
  return new Map([...lines].map(([, name = '', calls, usec]) => [name, { calls: Number(calls), usec: Number(usec) }]));
}

/** Microseconds between two readings, the costliest commands first. */
export function usecBetween(before: RedisLoad, after: RedisLoad): [command: string, usec: number][] {
  return [...after]
    .map(([name, { usec }]): [string, number] => [name, usec - (before.get(name)?.usec ?? 0)])
    .filter(([, usec]) => usec > 0)
    .toSorted(([, a], [, b]) => b - a);
}

/** Bytes of all that Redis holds. */
export async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
}
