import { type Job, UnrecoverableError } from 'bullmq';
import type { FlushResult } from '../../shared/queues.ts';
import { flushJob } from '../../shared/records/jobs.ts';
import { describeSpan } from '../../shared/telemetry/tracing.ts';
import { validate } from '../../shared/validate.ts';
import { flush } from './flush.ts';
import { retryFlush } from '../steps/flush-schedule.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';

/**
 * One flush, which the schedule, a caller, a growing backlog or an earlier failure has asked for. A flush that fails makes its
 * job fail, so that people see it, and leaves what it did as the job's progress. What it did not commit is still pending, and
 * another flush is asked for.
 */
export async function processFlush(
  job: Job,
  consumer: string,
  signal: AbortSignal,
  parts: WorkerParts,
): Promise<FlushResult> {
  const { batchSize, attempt = 0, reason } = validate(flushJob, job.data, 'the flush job');
  // Without this, the retry that follows when this one fails would count as a duplicate of it and would not be added.
  if (reason === 'retry') await job.removeDeduplicationKey();
  const { failure, ...result } = await flush(parts, {
    batchSize: batchSize ?? smaller(parts.config.flushBatchSize, attempt),
    consumer,
    signal,
    onProgress: (progress) => job.updateProgress({ ...progress }),
  });
  parts.logger.info({ reason, ...result }, 'flush');
  describeSpan({
    'mnemoq.flush.pending': result.totalPending,
    'mnemoq.flush.flushed': result.flushedCount,
    'mnemoq.flush.failed': result.failedCount,
    ...(failure && { 'error.type': failure.kind }),
  });
  if (!failure) return result;
  await job.updateProgress({ ...result });
  await retryFlush(attempt + 1, parts);
  const kept = result.totalPending - result.flushedCount - result.failedCount;
  throw new UnrecoverableError(
    `flush stopped (${failure.kind} ${failure.code}: ${failure.message}); ${kept} records kept`,
  );
}

/** Each retry halves the batch size, because a database that is slow today may take small batches within its time limit. */
function smaller(batchSize: number, attempt: number): number {
  return Math.max(1, Math.floor(batchSize / 2 ** attempt));
}
