import type { FlushJob } from '../../shared/records/records.ts';
import { backoffMs } from '../../shared/process/retry.ts';
import { OWN_TRACE } from '../../shared/telemetry/tracing.ts';
import type { WorkerParts } from './worker-parts.ts';

type ScheduleParts = Pick<WorkerParts, 'config' | 'queue'>;

/** BullMQ's id for the schedule; its next job's id is `repeat:<this>:<when>`. */
const SCHEDULER = 'flush';

/** Makes flushes come by themselves: every interval, or at the off-peak hour in its time zone. Same schedule, one entry. */
export async function scheduleFlushes({ config, queue }: ScheduleParts): Promise<void> {
  const repeat =
    config.flushStrategy === 'interval'
      ? { every: config.flushIntervalMs }
      : { pattern: config.flushOffPeakCron, tz: config.flushTz };
  const data: FlushJob = { reason: config.flushStrategy };
  await queue('flush').upsertJobScheduler(SCHEDULER, repeat, { name: 'flush', data, opts: OWN_TRACE });
}

/** Whether another flush is to come: the scheduler's next job waits, or the one that adds it is under way. */
export async function isScheduled({ queue }: ScheduleParts): Promise<boolean> {
  const scheduler = await queue('flush').getJobScheduler(SCHEDULER);
  const next = scheduler?.next && (await queue('flush').getJob(`repeat:${SCHEDULER}:${scheduler.next}`));
  return Boolean(next && !next.finishedOn);
}

/** Asks for a flush now, unless one asked for with the same reason is still to come. */
export async function requestFlush(reason: string, { queue }: ScheduleParts): Promise<void> {
  const data: FlushJob = { reason };
  await queue('flush').add('flush', data, { deduplication: { id: reason }, ...OWN_TRACE });
}

/** Tries a failed flush again after a while; however many fail, one retry waits. */
export async function retryFlush(attempt: number, { queue }: ScheduleParts): Promise<void> {
  const data: FlushJob = { reason: 'retry', attempt };
  const options = { delay: backoffMs(attempt), deduplication: { id: 'retry' }, ...OWN_TRACE };
  await queue('flush').add('flush', data, options);
}
