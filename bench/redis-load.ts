import type { Redis } from 'ioredis';

/** The microseconds that Redis has spent since its start, by command. Commands in a script are counted in its EVALSHA as well. */
export type RedisLoad = ReadonlyMap<string, { calls: number; usec: number }>;

export async function readRedisLoad(redis: Redis): Promise<RedisLoad> {
  const lines = (await redis.info('commandstats')).matchAll(/^cmdstat_(\S+?):calls=(\d+),usec=(\d+)/gm);
  return new Map([...lines].map(([, name = '', calls, usec]) => [name, { calls: Number(calls), usec: Number(usec) }]));
}

/** Gives the microseconds between two readings, the most expensive commands first. */
export function usecBetween(before: RedisLoad, after: RedisLoad): [command: string, usec: number][] {
  return [...after]
    .map(([name, { usec }]): [string, number] => [name, usec - (before.get(name)?.usec ?? 0)])
    .filter(([, usec]) => usec > 0)
    .toSorted(([, a], [, b]) => b - a);
}

/** Gives the bytes of everything that Redis holds. */
export async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
}
