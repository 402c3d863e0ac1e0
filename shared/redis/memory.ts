import type { Redis } from 'ioredis';
import { mastersOf, type RedisClient } from './redis.ts';

/** Of a cluster's nodes, the fullest one's: where it takes no more writes, its part of the conversations stands still. */
export interface RedisMemory {
  usedBytes: number;
  /** 0 when Redis has no limit. */
  maxBytes: number;
}

/** Of the nodes that answer: of one that does not, the writes themselves will tell. Throws when none answers. */
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
