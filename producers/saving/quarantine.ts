import type { Job } from 'bullmq';
import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import { quarantineJob } from '../../shared/records/records.ts';
import { validate } from '../../shared/validate.ts';
import type { Submission } from '../parts/submission.ts';

/** Most records listed at once. */
const PAGE = 1000;
const LONGEST_WAIT_MS = 600_000;

/** What is shown of a job in quarantine, where it is there. */
const shown = z.object({
  row: quarantineJob.shape.row.pick({ id: true, context_id: true, user_id: true, module: true }).strip(),
  error: quarantineJob.shape.error,
});
type Shown = z.output<typeof shown>;

export interface QuarantinedRecord {
  id: string;
  contextId: string;
  module: string;
  /** SQLSTATE or HTTP status. */
  code: string;
  message: string;
  quarantinedAt: string;
}

/** Oldest first. */
export async function listQuarantined(submission: Submission): Promise<QuarantinedRecord[]> {
  const jobs = await submission.queue('quarantine').getFailed(0, PAGE - 1);
  return jobs.toReversed().map((job) => {
    const { row, error } = quarantinedOf(job);
    return {
      id: job.id ?? '',
      contextId: row?.context_id ?? '',
      module: row?.module ?? '',
      code: error?.code ?? '',
      message: job.failedReason,
      quarantinedAt: new Date(job.timestamp).toISOString(),
    };
  });
}

/** What a job in `quarantine` holds. Anybody can add one: of what is not as it should be nothing is taken. */
export function quarantinedOf({ data }: Job): Partial<Shown> {
  return shown.safeParse(data).data ?? {};
}

/** Tries one again, with a mended row if there is one, and waits for the end. */
export async function retryQuarantined(
  id: string,
  row: unknown,
  wait: number,
  submission: Submission,
): Promise<{ committed: boolean; reason: string | null }> {
  const mended = row === undefined ? null : validate(quarantineJob.shape.row, row, 'the row');
  validate(z.int().min(1).max(LONGEST_WAIT_MS), wait, 'wait');
  const job = await submission.queue('quarantine').getJob(id);
  if (!job || !(await job.isFailed())) throw new MnemoqError('not_found', `no record with id ${id} is in quarantine`);
  if (mended) {
    // The record is found by these two when it is acknowledged: with others it would never leave Redis.
    const { row: refused, error = { code: 'malformed', message: job.failedReason } } = quarantinedOf(job);
    const contextId = refused?.context_id ?? mended.context_id;
    validate(z.object({ id: z.literal(id), context_id: z.literal(contextId) }), mended, 'the row');
    await job.updateData({ row: mended, error });
  }
  await job.retry('failed');
  const ending = await submission.ending('quarantine', job, wait);
  if (!ending)
    throw new MnemoqError('timeout', `the retry has not ended within ${wait} ms (is a flush worker running?)`);
  return 'result' in ending ? { committed: true, reason: null } : { committed: false, reason: ending.failedReason };
}
