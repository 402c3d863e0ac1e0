import type { FlushJob } from '../shared/records.ts';
import { backoffMs } from '../shared/retry.ts';
import type { Parts } from './parts.ts';

type ScheduleParts = Pick<Parts, 'config' | 'queue'>;

/** Makes flushes come by themselves: every interval, or at the off-peak hour in its time zone. Same schedule, one entry. */
export async function scheduleFlushes({ config, queue }: ScheduleParts): Promise<void> {
  const repeat =
    config.flushStrategy === 'interval'
      ? { every: config.flushIntervalMs }
      : { pattern: config.flushOffPeakCron, tz: config.flushTz };
  const data: FlushJob = { reason: config.flushStrategy };
  await queue('flush').upsertJobScheduler('flush', repeat, { name: 'flush', data });
}

/** Asks for a flush now, unless one asked for with the same reason is still to come. */
export async function requestFlush(reason: string, { queue }: ScheduleParts): Promise<void> {
  const data: FlushJob = { reason };
  await queue('flush').add('flush', data, { deduplication: { id: reason } });
}

/** Tries a failed flush again after a while; however many fail, one retry waits. */
export async function retryFlush(attempt: number, { queue }: ScheduleParts): Promise<void> {
  const data: FlushJob = { reason: 'retry', attempt };
  await queue('flush').add('flush', data, { delay: backoffMs(attempt), deduplication: { id: 'retry' } });
}
