import { CronExpressionParser } from 'cron-parser';
import type { Queue } from 'bullmq';
import { QUEUES, type QueueName } from '../queues.ts';
import type { Config } from '../settings/variables.ts';
import type { Pending } from '../short-term/pending.ts';
import type { RedisClient } from '../redis/connection.ts';
import { readMemory, usedPercent } from '../redis/memory.ts';

/** A quarantine that has grown within this time is taken to be growing: something refuses rows right now. */
const GROWTH_MS = 600_000;
/** How long an off-peak flush may take, after its hour, to reach every record. */
const OFF_PEAK_GRACE_MS = 900_000;

/** The figures that show whether the memory as a whole is well. */
export interface Figures {
  /** How many records are in Redis and not in Supabase yet. */
  pendingQueueLength: number;
  /** Null when nothing is pending. */
  oldestPendingAgeMs: number | null;
  /** How many records were refused for their content and wait for a person. */
  quarantined: number;
  /** How many of these came within the last ten minutes. */
  quarantinedLately: number;
  /** Queues that somebody has paused: nothing of them is worked on. */
  pausedQueues: QueueName[];
  redisUsedBytes: number;
  /** 0 without a limit. */
  redisMaxBytes: number;
}

export interface ConditionParts {
  config: Config;
  redis: RedisClient;
  pending: Pending;
  queue: (name: QueueName) => Queue;
}

export async function measure({ redis, pending, queue }: ConditionParts, now = Date.now()): Promise<Figures> {
  const quarantine = queue('quarantine');
  const [memory, pendingQueueLength, oldestPendingAgeMs, quarantined, quarantinedLately, paused] = await Promise.all([
    readMemory(redis),
    pending.length(),
    pending.oldestAgeMs(now),
    quarantine.getFailedCount(),
    // The score that BullMQ gives a failed job is the time at which it failed.
    redis.zcount(quarantine.toKey('failed'), now - GROWTH_MS, '+inf'),
    Promise.all(QUEUES.map(async (name) => queue(name).isPaused())),
  ]);
  return {
    pendingQueueLength,
    oldestPendingAgeMs,
    quarantined,
    quarantinedLately,
    pausedQueues: QUEUES.filter((_name, index) => paused[index]),
    redisUsedBytes: memory.usedBytes,
    redisMaxBytes: memory.maxBytes,
  };
}

/** Says in words what needs attention; empty when all is well. */
export function reasonsFor(figures: Figures, config: Config, now = Date.now()): string[] {
  const reasons: string[] = [];
  const { quarantined, quarantinedLately, pausedQueues, oldestPendingAgeMs, redisUsedBytes, redisMaxBytes } = figures;
  for (const name of pausedQueues) reasons.push(`queue ${name} is paused: its jobs wait until somebody resumes it`);
  if (quarantined > 0) {
    const lately = quarantinedLately > 0 ? `, ${quarantinedLately} of them since ten minutes ago` : '';
    reasons.push(`${quarantined} records are in quarantine${lately}: see mnemoq quarantine list`);
  }
  if (oldestPendingAgeMs !== null && now - oldestPendingAgeMs < committedUntil(config, now)) {
    reasons.push(
      `the oldest pending record has waited for ${Math.round(oldestPendingAgeMs / 1000)} s: flushes fail or none runs`,
    );
  }
  if (usedPercent({ usedBytes: redisUsedBytes, maxBytes: redisMaxBytes }) > config.redisMaxUsedPercent) {
    reasons.push('Redis is nearly full: saves are refused');
  }
  return reasons;
}

/** Everything that was pending before this moment should be committed by now: two intervals or an off-peak hour have passed. */
function committedUntil(config: Config, now: number): number {
  if (config.flushStrategy === 'interval') return now - 2 * config.flushIntervalMs;
  const currentDate = new Date(now - OFF_PEAK_GRACE_MS);
  return CronExpressionParser.parse(config.flushOffPeakCron, { tz: config.flushTz, currentDate }).prev().getTime();
}
