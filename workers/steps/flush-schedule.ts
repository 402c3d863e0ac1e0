import type { FlushJob } from '../../shared/records/jobs.ts';
import { backoffMs } from '../../shared/process/retry.ts';
import { OWN_TRACE } from '../../shared/telemetry/tracing.ts';
import type { WorkerParts } from './worker-parts.ts';

type ScheduleParts = Pick<WorkerParts, 'config' | 'queue'>;

/** The id of the schedule for BullMQ. The id of its next job is `repeat:<this>:<when>`. */
const SCHEDULER = 'flush';

/**
 * Makes flushes come by themselves, either after every interval or at the off-peak hour in its time zone. The schedule has one
 * entry, however many workers make it.
 */
export async function scheduleFlushes({ config, queue }: ScheduleParts): Promise<void> {
  const repeat =
    config.flushStrategy === 'interval'
      ? { every: config.flushIntervalMs }
      : { pattern: config.flushOffPeakCron, tz: config.flushTz };
  const data: FlushJob = { reason: config.flushStrategy };
  await queue('flush').upsertJobScheduler(SCHEDULER, repeat, { name: 'flush', data, opts: OWN_TRACE });
}

/** Whether another flush will come: the next job of the schedule waits, or the job that adds the next one is under way. */
export async function isScheduled({ queue }: ScheduleParts): Promise<boolean> {
  const scheduler = await queue('flush').getJobScheduler(SCHEDULER);
  const next = scheduler?.next && (await queue('flush').getJob(`repeat:${SCHEDULER}:${scheduler.next}`));
  return Boolean(next && !next.finishedOn);
}

/** Asks for a flush now, unless one that was asked for with the same reason has not begun yet. */
export async function requestFlush(reason: string, { queue }: ScheduleParts): Promise<void> {
  const data: FlushJob = { reason };
  await queue('flush').add('flush', data, { deduplication: { id: reason }, ...OWN_TRACE });
}

/** Tries a failed flush again after a while. Only one retry waits, however many flushes have failed. */
export async function retryFlush(attempt: number, { queue }: ScheduleParts): Promise<void> {
  const data: FlushJob = { reason: 'retry', attempt };
  const options = { delay: backoffMs(attempt), deduplication: { id: 'retry' }, ...OWN_TRACE };
  await queue('flush').add('flush', data, options);
}
