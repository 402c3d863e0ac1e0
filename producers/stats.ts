import type { Config } from '../shared/config.ts';
import type { Pending } from '../shared/pending.ts';
import { QUEUES, type QueueName } from '../shared/queues.ts';
import type { RedisClient } from '../shared/redis.ts';
import type { Encoding } from '../shared/tokenizer.ts';
import { readMemory } from './admission.ts';
import type { Submission } from './submission.ts';

export interface Stats {
  status: 'ok' | 'degraded';
  /** Why degraded. */
  reasons: string[];
  /** Records in Redis that Supabase does not have yet. */
  pendingQueueLength: number;
  /** Null when nothing is pending. */
  oldestPendingAgeMs: number | null;
  quarantined: number;
  ttlSeconds: number;
  shortTermLimit: number;
  encoding: Encoding;
  redisUsedBytes: number;
  /** 0 without a limit. */
  redisMaxBytes: number;
  /** Jobs by state, as BullMQ counts them. */
  queues: Record<QueueName, Record<string, number>>;
}

interface StatsParts {
  config: Config;
  redis: RedisClient;
  pending: Pending;
  submission: Submission;
}

export async function collectStats({ config, redis, pending, submission }: StatsParts): Promise<Stats> {
  const counts = await Promise.all(QUEUES.map((name) => submission.queue(name).getJobCounts()));
  const queues = Object.fromEntries(QUEUES.map((name, i) => [name, counts[i]])) as Stats['queues'];
  const { usedBytes, maxBytes } = await readMemory(redis);
  const figures = {
    pendingQueueLength: await pending.length(),
    oldestPendingAgeMs: await pending.oldestAgeMs(),
    quarantined: queues.quarantine['failed'] ?? 0,
    redisUsedBytes: usedBytes,
    redisMaxBytes: maxBytes,
  };
  const reasons = reasonsFor(figures, config);
  const { redisTtlSeconds: ttlSeconds, shortTermLimit, encoding } = config;
  return {
    status: reasons.length === 0 ? 'ok' : 'degraded',
    reasons,
    ...figures,
    ttlSeconds,
    shortTermLimit,
    encoding,
    queues,
  };
}

type Figures = Pick<Stats, 'oldestPendingAgeMs' | 'quarantined' | 'redisUsedBytes' | 'redisMaxBytes'>;

function reasonsFor(
  { quarantined, oldestPendingAgeMs, redisUsedBytes, redisMaxBytes }: Figures,
  config: Config,
): string[] {
  const reasons: string[] = [];
  if (quarantined > 0) reasons.push(`${quarantined} records are in quarantine`);
  if (config.flushStrategy === 'interval' && (oldestPendingAgeMs ?? 0) > 2 * config.flushIntervalMs) {
    reasons.push(`the oldest pending record is ${oldestPendingAgeMs} ms old, more than two flush intervals`);
  }
  if (redisMaxBytes > 0 && 100 * redisUsedBytes > config.redisMaxUsedPercent * redisMaxBytes) {
    reasons.push('Redis is nearly full: saves are refused');
  }
  return reasons;
}
