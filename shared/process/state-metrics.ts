import type { Queue } from 'bullmq';
import { Gauge } from 'prom-client';
import { type ConditionParts, measure } from '../tiers/condition.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { QUEUES } from '../queues.ts';
import type { RedisClient } from '../redis/connection.ts';
import { withinTime } from '../redis/within-time.ts';

/** How long Redis may take to answer a scrape. Prometheus itself waits for ten seconds. */
const SCRAPE_MS = 2_000;

/**
 * Adds the state that all processes share, measured in Redis at each scrape: queues, pending records, quarantine, memory. The
 * flush worker and the API expose it, because one process that tells it is enough. Where several tell it, take the maximum and
 * not the sum. While Redis does not answer, `mnemoq_redis_up` is 0, and the other figures are left out rather than told as they
 * were.
 */
export function exposeState(metrics: Metrics, parts: ConditionParts): void {
  const gauge = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge<L>({ name, help, labelNames, registers: [metrics.registry] });
  const up = gauge('mnemoq_redis_up', '1 when Redis answered this scrape in time, else 0');
  const used = gauge('mnemoq_redis_memory_used_bytes', 'Memory that Redis uses; of a cluster, the fullest node');
  const max = gauge('mnemoq_redis_memory_max_bytes', 'Memory that Redis may use; 0 without a limit');
  const pending = gauge('mnemoq_pending_records', 'Records in Redis that Supabase does not have yet');
  const pendingAge = gauge(
    'mnemoq_pending_oldest_age_seconds',
    'How long the oldest pending record has waited; 0 when none is pending',
  );
  const quarantined = gauge('mnemoq_quarantined_records', 'Records in quarantine, which wait for a person');
  const jobs = gauge('mnemoq_queue_jobs', 'Jobs in a queue, by state', ['queue', 'state']);
  const jobAge = gauge(
    'mnemoq_queue_oldest_age_seconds',
    'How long ago the job that is next in a queue was added; 0 when none waits',
    ['queue'],
  );

  const measureAll = async () => {
    const queues = QUEUES.map(async (name) => {
      const queue = parts.queue(name);
      return { name, counts: await queue.getJobCounts(), added: await nextAdded(queue, parts.redis) };
    });
    return { figures: await measure(parts), queues: await Promise.all(queues) };
  };

  metrics.beforeScrape(async () => {
    for (const each of [used, max, pending, pendingAge, quarantined]) each.remove();
    jobs.reset();
    jobAge.reset();
    up.set(0);
    const measured = await withinTime(measureAll(), SCRAPE_MS, 'collecting metrics').catch(() => null);
    if (!measured) return;
    const { figures, queues } = measured;
    up.set(1);
    used.set(figures.redisUsedBytes);
    max.set(figures.redisMaxBytes);
    pending.set(figures.pendingQueueLength);
    pendingAge.set((figures.oldestPendingAgeMs ?? 0) / 1000);
    quarantined.set(figures.quarantined);
    for (const { name: queue, counts, added } of queues) {
      for (const [state, count] of Object.entries(counts)) jobs.set({ queue, state }, count);
      jobAge.set({ queue }, added === null ? 0 : Math.max(0, Date.now() - added) / 1000);
    }
  });
}

/** When the next job of a queue was added, in ms of the epoch. Only its time is read, and not its text. */
async function nextAdded(queue: Queue, redis: RedisClient): Promise<number | null> {
  const id = await redis.lindex(queue.toKey('wait'), -1);
  const added = id === null ? null : await redis.hget(queue.toKey(id), 'timestamp');
  return added === null ? null : Number(added);
}
