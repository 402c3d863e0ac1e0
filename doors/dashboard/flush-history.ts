import type { Job, Queue } from 'bullmq';
import type { FlushResult } from '../../shared/queues.ts';

/** One run that moves pending records to Supabase, or has moved them. */
export interface FlushRun {
  id: string;
  /** Who or what asked for it. */
  reason: string;
  state: 'running' | 'done' | 'failed';
  started_at: string;
  /** It is null while the flush runs. */
  duration_ms: number | null;
  flushed_count: number;
  failed_count: number;
  batches: number;
  /** The reason why it failed. */
  error: string | null;
}

/** Gives the newest flushes, the newest first. Finished ones are kept for a day. */
export async function listFlushes(queue: Queue, limit: number): Promise<FlushRun[]> {
  const jobs = await queue.getJobs(['active', 'completed', 'failed'], 0, limit - 1);
  return jobs
    .filter((job) => job?.processedOn !== undefined) // a job that is removed while they are read comes as undefined
    .toSorted((a, b) => startOf(b) - startOf(a))
    .slice(0, limit)
    .map(toRun);
}

function toRun(job: Job): FlushRun {
  const { id = '', data, finishedOn } = job;
  const counts: Partial<FlushResult> = Object(job.returnvalue ?? job.progress);
  const error = finishedOn === undefined ? null : job.failedReason || null;
  return {
    id,
    reason: String(data?.reason ?? ''),
    state: stateOf(finishedOn, error),
    started_at: new Date(startOf(job)).toISOString(),
    duration_ms: finishedOn === undefined ? null : finishedOn - startOf(job),
    flushed_count: counts.flushedCount ?? 0,
    failed_count: counts.failedCount ?? 0,
    batches: counts.batches ?? 0,
    error,
  };
}

function stateOf(finishedOn: number | undefined, error: string | null): FlushRun['state'] {
  if (finishedOn === undefined) return 'running';
  return error === null ? 'done' : 'failed';
}

function startOf({ processedOn = 0 }: Job): number {
  return processedOn;
}
