import type { Job } from 'bullmq';
import { MnemoqError } from '../../shared/errors.ts';
import { recordId } from '../../shared/identifiers.ts';
import { validate } from '../../shared/validate.ts';
import { inReadTime, type ReadOptions, userOf } from './reading.ts';
import type { QueueName } from '../../shared/queues.ts';
import { addedAt } from '../../shared/redis/stream-entries.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { quarantinedOf } from '../saving/quarantine-list.ts';
import type { CallParts } from '../parts/call-parts.ts';

/** How far a record has come. */
export type RecordState = 'queued' | 'cached' | 'committed' | 'pinned' | 'quarantined' | 'failed';

export interface RecordStatus {
  id: string;
  status: RecordState;
  /** Why the record failed, is in quarantine, or is not further yet; null when there is nothing to say. */
  reason: string | null;
  cid: string | null;
  /**
   * When the record was queued, in ISO 8601; null when it is not known any more, because a finished job is kept for an
   * hour. The same holds for the two times that follow.
   */
  queuedAt: string | null;
  cachedAt: string | null;
  pinnedAt: string | null;
}

type StatusParts = Pick<CallParts, 'pending' | 'pins' | 'shortTerm' | 'longTerm' | 'queue'>;

/** `owner` is the user of the record, as the tier says in which it was found. */
type Found = Pick<RecordStatus, 'status'> & Partial<RecordStatus> & { owner: unknown };

/** The queues that may have the job of a record. */
const RECORD_QUEUES: readonly QueueName[] = ['chat', 'reflection'];

/**
 * Looks where the record is, and asks Supabase only when nothing else can tell. Throws `not_found` when no tier has the record,
 * and `supabase_unavailable` when only Supabase could tell. With a `userId`, the record of another user is not found.
 */
export async function readStatus(id: string, options: ReadOptions, parts: CallParts): Promise<RecordStatus> {
  const known = validate(recordId, id, 'id');
  return inReadTime(findStatus(known, userOf(options), parts), parts);
}

async function findStatus(id: string, userId: string | undefined, parts: StatusParts): Promise<RecordStatus> {
  const jobs = await Promise.all(RECORD_QUEUES.map((name) => findJob(name, id, parts)));
  const job = jobs.find((found) => found !== undefined);
  const found = (await findInRedis(id, job, parts)) ?? (await findInSupabase(id, job, parts)) ?? jobStatus(job);
  if (!found || (userId !== undefined && found.owner !== userId))
    throw new MnemoqError('not_found', `no record with id ${id} in queues, Redis or Supabase`);
  const { owner: _checked, ...known } = found;
  const unknown = { reason: null, cid: null, cachedAt: null, pinnedAt: null };
  return { id, ...unknown, queuedAt: job ? iso(job.timestamp) : null, ...known };
}

async function findInRedis(id: string, job: Job | undefined, parts: StatusParts): Promise<Found | null> {
  const quarantined = await findJob('quarantine', id, parts);
  if (quarantined && !quarantined.returnvalue) {
    const { row, error } = quarantinedOf(quarantined);
    const reason = error ? `${error.code}: ${error.message}` : quarantined.failedReason;
    return { status: 'quarantined', reason, owner: row?.user_id };
  }
  const located = await parts.pending.locate(id);
  if (located) {
    const [record] = await parts.shortTerm.find(located.contextId, [id]);
    const cachedAt = iso(addedAt(located.entry));
    return { status: 'cached', reason: 'not committed yet', cachedAt, owner: record?.userId };
  }
  const pin = await parts.pins.find(id);
  if (pin && 'userId' in pin) return { status: 'pinned', cid: pin.cid, pinnedAt: pin.pinnedAt, owner: pin.userId };
  // The record of a job that was never begun is in no further tier. One whose job was begun may be in Supabase already.
  return job?.attemptsStarted === 0 ? { status: 'queued', reason: 'waits for a worker', owner: ownerOf(job) } : null;
}

async function findInSupabase(id: string, job: Job | undefined, { longTerm }: StatusParts): Promise<Found | null> {
  const record = await longTerm.memories.find(id);
  if (!record) return null;
  const owner = record.userId;
  if (record.cid === null) return { status: 'committed', reason: unpinnedReason(record, job), owner };
  const pinnedAt = (await longTerm.reflections.find({ id }))?.pinned_at;
  return { status: 'pinned', cid: record.cid, pinnedAt: pinnedAt ? iso(Date.parse(pinnedAt)) : null, owner };
}

function unpinnedReason(record: MemoryRecord, job: Job | undefined): string | null {
  return record.module === 'chat' ? null : (failedReason(job) ?? 'not pinned yet');
}

function jobStatus(job: Job | undefined): Found | null {
  if (!job) return null;
  const reason = failedReason(job);
  const owner = ownerOf(job);
  return reason === null
    ? { status: 'queued', reason: 'is being worked on, or waits for another try', owner }
    : { status: 'failed', reason, owner };
}

/** The user that the data of a job names. Any client may have added the job, with any data. */
function ownerOf({ data }: Job): unknown {
  return (data as { userId?: unknown } | null)?.userId;
}

function failedReason(job: Job | undefined): string | null {
  return job?.finishedOn && job.failedReason ? job.failedReason : null;
}

async function findJob(name: QueueName, id: string, { queue }: StatusParts): Promise<Job | undefined> {
  return queue(name).getJob(id);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
