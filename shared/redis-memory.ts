import { mastersOf, type RedisClient } from './redis.ts';

/** Of a cluster's nodes, the fullest one's: where it takes no more writes, its part of the conversations stands still. */
export interface RedisMemory {
  usedBytes: number;
  /** 0 when Redis has no limit. */
  maxBytes: number;
}

export async function readMemory(redis: RedisClient): Promise<RedisMemory> {
  const memories = await Promise.all(mastersOf(redis).map(async (node) => parseMemory(await node.info('memory'))));
  const [fullest = { usedBytes: 0, maxBytes: 0 }] = memories.toSorted((a, b) => usedPercent(b) - usedPercent(a));
  return fullest;
}

/** How much of its limit Redis uses; 0 without a limit. */
export function usedPercent({ usedBytes, maxBytes }: RedisMemory): number {
  return maxBytes === 0 ? 0 : (100 * usedBytes) / maxBytes;
}

function parseMemory(info: string): RedisMemory {
  const read = (field: string) => Number(new RegExp(`^${field}:(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  return { usedBytes: read('used_memory'), maxBytes: read('maxmemory') };
}
