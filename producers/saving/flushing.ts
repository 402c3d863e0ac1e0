import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import type { FlushResult } from '../../shared/queues.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { progressHandler } from '../parts/progress.ts';

/** How long a flush is waited for. It moves everything that is pending, which can be a lot. */
const FLUSH_WAIT_MS = 600_000;

export const flushOptions = z.strictObject({
  batchSize: z.int().min(1).max(MAX_ROWS).optional(),
  wait: z.int().min(1).max(FLUSH_WAIT_MS).optional(),
  onProgress: progressHandler<FlushResult>().optional(),
});
export type FlushOptions = z.input<typeof flushOptions>;

/** Asks for a flush and waits for its end. `reason` is null when everything was committed or set aside. */
export async function flushNow(
  options: FlushOptions,
  { submission, pending }: CallParts,
): Promise<FlushResult & { reason: string | null }> {
  const { batchSize, wait = FLUSH_WAIT_MS, onProgress } = validate(flushOptions, options, 'the options');
  const data = { reason: 'on-demand', ...(batchSize && { batchSize }) };
  const job = await submission.add('flush', data, {}, 'asking for a flush');
  const listener = onProgress && ((progress: unknown) => onProgress(progress as FlushResult));
  const ending = await submission.ending<FlushResult>('flush', job, wait, listener);
  if (!ending) {
    throw new MnemoqError(
      'timeout',
      `the flush has not ended within ${wait} ms; it goes on (is a flush worker running?)`,
    );
  }
  if ('result' in ending) return { ...ending.result, reason: null };
  const nothing = { totalPending: await pending.length(), flushedCount: 0, failedCount: 0, batches: 0 };
  const done = ending.job.progress as unknown;
  return {
    ...(typeof done === 'object' ? (done as FlushResult) : nothing),
    success: false,
    reason: ending.failedReason,
  };
}
