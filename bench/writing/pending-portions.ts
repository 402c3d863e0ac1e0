import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { progressBar } from '../../cli/terminal/output.ts';
import { Pending } from '../../shared/short-term/pending.ts';
import { readProcessLoad } from '../process-load.ts';
import { readRedisLoad, type RedisLoad, usecBetween } from '../redis-load.ts';
import { rounded } from '../statistics.ts';

/** The time between two looks at a flush. */
const POLL_MS = 50;
/** The number of parts in which a flush is measured. The first two tenths and the last two are compared. */
const PORTIONS = 20;
export const MIB = 1024 ** 2;

export interface Portion {
  /** The number of records that were still pending when the part began. */
  pending: number;
  usecPerRecord: number;
  /** The time of the thread of Redis, and its most expensive commands. */
  redisUsecPerRecord: number;
  commands: Record<string, number>;
  workerCpuUsecPerRecord: number | null;
  workerRssMiB: number | null;
}

/** Watches a flush until its end, one part after the other. */
export async function watch(pid: number, pending: Pending, redis: Redis): Promise<Portion[]> {
  const total = await pending.length();
  const bar = progressBar(`flushing ${total}`, total);
  const portions: Portion[] = [];
  let before = await look(pid, total, redis);
  while (before.left > 0) {
    await sleep(POLL_MS);
    const left = await pending.length();
    if (left > 0 && before.left - left < total / PORTIONS) continue;
    const now = await look(pid, left, redis);
    portions.push(between(before, now));
    before = now;
    bar.update(total - left);
  }
  bar.stop();
  return portions;
}

export async function emptied(pending: Pending): Promise<void> {
  while ((await pending.length()) > 0) await sleep(POLL_MS);
}

interface Look {
  at: number;
  left: number;
  redis: RedisLoad;
  worker: ReturnType<typeof readProcessLoad>;
}

async function look(pid: number, left: number, redis: Redis): Promise<Look> {
  return { at: performance.now(), left, redis: await readRedisLoad(redis), worker: readProcessLoad(pid) };
}

function between(before: Look, now: Look): Portion {
  const count = before.left - now.left;
  const usecs = usecBetween(before.redis, now.redis);
  // Redis counts commands within scripts once more on their own, so only the commands that clients send are added up.
  const outer = usecs.filter(([name]) => /^(eval|xautoclaim|xreadgroup|xclaim|hmget|xpending)/.test(name));
  return {
    pending: before.left,
    usecPerRecord: rounded((1000 * (now.at - before.at)) / count),
    redisUsecPerRecord: rounded(outer.reduce((sum, [, usec]) => sum + usec, 0) / count),
    commands: Object.fromEntries(usecs.slice(0, 8).map(([name, usec]) => [name, rounded(usec / count)])),
    workerCpuUsecPerRecord:
      now.worker && before.worker && rounded((1000 * (now.worker.cpuMs - before.worker.cpuMs)) / count),
    workerRssMiB: now.worker && rounded(now.worker.rssBytes / MIB),
  };
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Divides the last tenth of the values by the first tenth. */
export function lastToFirst(values: readonly number[]): number {
  const tenth = Math.max(1, Math.round(values.length / 10));
  return rounded(mean(values.slice(-tenth)) / mean(values.slice(0, tenth)));
}
