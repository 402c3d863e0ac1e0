import type { Job } from 'bullmq';
import type { ErasureScope } from '../../shared/short-term/erasures.ts';
import { conversationsIn } from '../../shared/records/conversation-id.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { jobIds } from '../parts/job-ids.ts';
import { awaitLetGo } from '../parts/let-go.ts';

/** The queues whose jobs carry a record or an event of a record. */
const QUEUES_OF_RECORDS = ['chat', 'reflection', 'quarantine', 'webhook', 'reflector'] as const;
/** Jobs read at once. Each of them may be four MiB long. */
const JOBS_AT_ONCE = 20;

/**
 * Removes every job of the scope, in round after round, until a round has met none. Only then no job is left that was in the
 * hand of a worker, or was put off, during an earlier round. Gives how many jobs it has removed.
 */
export async function eraseJobs(scope: ErasureScope, { queue }: CallParts): Promise<number> {
  let removed = 0;
  const round = async () => {
    let met = 0;
    for (const name of QUEUES_OF_RECORDS) {
      for await (const ids of jobIds(queue(name), JOBS_AT_ONCE)) {
        const jobs = await Promise.all(ids.map((id) => queue(name).getJob(id)));
        for (const job of jobs.filter((each) => each !== undefined && isWithin(each, scope))) {
          met += 1;
          removed += await remove(job);
        }
      }
    }
    return met === 0;
  };
  await awaitLetGo(round, 'not everything is erased yet: a worker has its records in hand; run the erasure again');
  return removed;
}

/** Gives 0 for a job that a worker has taken, which cannot be removed. It will end, and the next round finds it elsewhere. */
async function remove(job: Job | undefined): Promise<number> {
  return job
    ? job.remove().then(
        () => 1,
        () => 0,
      )
    : 0;
}

/** Whether the data of a save, the row of a refused record or the event of a delivery belongs to the scope. */
function isWithin({ data }: Job, { userId, contextId }: ErasureScope): boolean {
  return ownersIn(data).some(
    (owner) =>
      (userId === undefined || owner['userId'] === userId) &&
      (contextId === undefined || owner['contextId'] === contextId),
  );
}

/** Any client may have added the job, with any data, so nothing is taken for granted here. */
type Unknown = Record<string, unknown>;

function ownersIn(data: unknown): Unknown[] {
  const { row, data: event, ...save } = objectOf(data);
  const { user_id: userId, context_id: contextId } = objectOf(row);
  const { records, ...ofEvent } = objectOf(event);
  const ofRecords = (Array.isArray(records) ? records : []).map((record) => ({
    userId: objectOf(record)['userId'],
    contextId: ofEvent['contextId'],
  }));
  const ofSave = conversationsIn(save).map((conversation) => ({ userId: save['userId'], contextId: conversation }));
  return [save, ...ofSave, { userId, contextId }, ofEvent, ...ofRecords];
}

function objectOf(value: unknown): Unknown {
  return typeof value === 'object' && value !== null ? (value as Unknown) : {};
}
