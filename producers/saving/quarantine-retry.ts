import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import { recordId } from '../../shared/identifiers.ts';
import { quarantineJob } from '../../shared/records/jobs.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { quarantinedOf } from './quarantine-list.ts';
import { DEFAULT_WAIT_MS, inMs, waitOption } from './receipt.ts';

const retryOptions = z.strictObject({ row: z.unknown().optional(), wait: waitOption });

export interface RetryOptions {
  /** The mended row, in the shape that the table has. By default the record is tried as it is. */
  row?: unknown;
  /** How long to wait for the end, in milliseconds; `true`, the default, waits 30 s. */
  wait?: boolean | number;
}

export interface RetryResult {
  committed: boolean;
  /** Why the record is not committed, in words; null when it is. */
  reason: string | null;
}

/** Tries a record in quarantine again, with a mended row when one is given, and waits for the end unless told not to. */
export async function retryQuarantined(
  id: string,
  options: RetryOptions,
  { queue, submission }: CallParts,
): Promise<RetryResult> {
  const known = validate(recordId, id, 'id');
  const { row, wait = true } = validate(retryOptions, options, 'the options');
  const mended = row === undefined ? null : validate(quarantineJob.shape.row, row, 'the row');
  const job = await queue('quarantine').getJob(known);
  if (!job || !(await job.isFailed()))
    throw new MnemoqError('not_found', `no record with id ${known} is in quarantine`);
  if (mended) {
    // The record is found by its id and its conversation when it is acknowledged. With others it would never leave Redis.
    const { row: refused, error = { code: 'malformed', message: job.failedReason } } = quarantinedOf(job);
    const contextId = refused?.context_id ?? mended.context_id;
    validate(z.object({ id: z.literal(known), context_id: z.literal(contextId) }), mended, 'the row');
    await job.updateData({ row: mended, error });
  }
  await job.retry('failed');
  const milliseconds = inMs(wait, DEFAULT_WAIT_MS);
  if (milliseconds === null) return { committed: false, reason: 'queued; a flush worker tries it' };
  const ending = await submission.ending('quarantine', job, milliseconds);
  if (!ending)
    throw new MnemoqError('timeout', `the retry has not ended within ${milliseconds} ms (is a flush worker running?)`);
  return 'result' in ending ? { committed: true, reason: null } : { committed: false, reason: ending.failedReason };
}
