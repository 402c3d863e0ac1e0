import { type ConditionParts, type Figures, measure, reasonsFor } from '../../shared/tiers/condition.ts';
import { QUEUES, type QueueName } from '../../shared/queues.ts';
import type { Encoding } from '../../shared/records/tokenizer.ts';
import type { Submission } from '../parts/submission.ts';

export interface Stats extends Figures {
  status: 'ok' | 'degraded';
  /** Why degraded. */
  reasons: string[];
  ttlSeconds: number;
  shortTermLimit: number;
  encoding: Encoding;
  /** Jobs by state, as BullMQ counts them. */
  queues: Record<QueueName, Record<string, number>>;
}

interface StatsParts extends Omit<ConditionParts, 'queue'> {
  submission: Submission;
}

export async function collectStats({ submission, ...parts }: StatsParts): Promise<Stats> {
  const counts = await Promise.all(QUEUES.map((name) => submission.queue(name).getJobCounts()));
  const queues = Object.fromEntries(QUEUES.map((name, i) => [name, counts[i]])) as Stats['queues'];
  const figures = await measure({ ...parts, queue: (name) => submission.queue(name) });
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
