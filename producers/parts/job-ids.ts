import type { JobType, Queue } from 'bullmq';
import { portionsOf } from './portions.ts';

/**
 * The states of a job, in the order in which a job goes through them. A job that moves on while the states are looked through
 * is therefore met again further down, and none is overlooked. Finished jobs are among them, because they keep their data for
 * an hour and longer.
 */
const STATES: JobType[] = ['delayed', 'prioritized', 'waiting', 'active', 'completed', 'failed'];

/** The ids of all jobs of a queue, whatever their state, in portions of at most `size`. An id may come twice. */
export async function* jobIds(queue: Queue, size: number): AsyncGenerator<string[]> {
  for (const state of STATES) yield* portionsOf(await queue.getRanges([state], 0, -1), size);
}
