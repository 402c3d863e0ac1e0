import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import { recordId } from '../../shared/identifiers.ts';
import { quarantineJob } from '../../shared/records/jobs.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { quarantinedOf } from './quarantine-list.ts';

const LONGEST_WAIT_MS = 600_000;

/** Tries a record in quarantine again, with a mended row when one is given, and waits for the end. */
export async function retryQuarantined(
  id: string,
  row: unknown,
  wait: number,
  { queue, submission }: CallParts,
): Promise<{ committed: boolean; reason: string | null }> {
  const known = validate(recordId, id, 'id');
  const mended = row === undefined ? null : validate(quarantineJob.shape.row, row, 'the row');
  validate(z.int().min(1).max(LONGEST_WAIT_MS), wait, 'wait');
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
  const ending = await submission.ending('quarantine', job, wait);
  if (!ending)
    throw new MnemoqError('timeout', `the retry has not ended within ${wait} ms (is a flush worker running?)`);
  return 'result' in ending ? { committed: true, reason: null } : { committed: false, reason: ending.failedReason };
}
