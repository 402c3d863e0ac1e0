import { type Figures, measure, reasonsFor } from '../../shared/tiers/condition.ts';
import { QUEUES, type QueueName } from '../../shared/queues.ts';
import type { Encoding } from '../../shared/records/tokenizer.ts';
import type { CallParts } from '../parts/call-parts.ts';

export interface Stats extends Figures {
  status: 'ok' | 'degraded';
  /** Why the status is degraded, in words; empty when it is ok. */
  reasons: string[];
  ttlSeconds: number;
  shortTermLimit: number;
  encoding: Encoding;
  /** Jobs by state, as BullMQ counts them. */
  queues: Record<QueueName, Record<string, number>>;
}

export async function collectStats(parts: CallParts): Promise<Stats> {
  const counts = await Promise.all(QUEUES.map((name) => parts.queue(name).getJobCounts()));
  const queues = Object.fromEntries(QUEUES.map((name, i) => [name, counts[i]])) as Stats['queues'];
  const figures = await measure(parts);
  const reasons = reasonsFor(figures, parts.config);
  const { redisTtlSeconds: ttlSeconds, shortTermLimit, encoding } = parts.config;
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
