import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import type { FlushResult } from '../../shared/queues.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { progressHandler } from '../parts/progress.ts';
import { inMs, waitOption } from './receipt.ts';

/** How long a flush is waited for. It moves everything that is pending, which can be a lot. */
const FLUSH_WAIT_MS = 600_000;

export const flushOptions = z.strictObject({
  batchSize: z.int().min(1).max(MAX_ROWS).optional(),
  wait: waitOption,
  onProgress: progressHandler<FlushResult>().optional(),
});
/** What a flush gives. `reason` is null when everything was committed or set aside. */
export interface FlushReceipt extends FlushResult {
  reason: string | null;
}

export type FlushOptions = z.input<typeof flushOptions>;

/** Asks for a flush and waits for its end unless told not to. */
export async function flushNow(options: FlushOptions, { submission, pending }: CallParts): Promise<FlushReceipt> {
  const { batchSize, wait = true, onProgress } = validate(flushOptions, options, 'the options');
  const data = { reason: 'on-demand', ...(batchSize && { batchSize }) };
  const job = await submission.add('flush', data, {}, 'asking for a flush');
  const nothing = async () => ({ totalPending: await pending.length(), flushedCount: 0, failedCount: 0, batches: 0 });
  const milliseconds = inMs(wait, FLUSH_WAIT_MS);
  if (milliseconds === null) return { success: true, ...(await nothing()), reason: 'queued; not waited for' };
  const listener = onProgress && ((progress: unknown) => onProgress(progress as FlushResult));
  const ending = await submission.ending<FlushResult>('flush', job, milliseconds, listener);
  if (!ending) {
    throw new MnemoqError(
      'timeout',
      `the flush has not ended within ${milliseconds} ms; it goes on (is a flush worker running?)`,
    );
  }
  if ('result' in ending) return { ...ending.result, reason: null };
  const done = ending.job.progress as unknown;
  return {
    ...(typeof done === 'object' ? (done as FlushResult) : await nothing()),
    success: false,
    reason: ending.failedReason,
  };
}
