import type { Job, Queue } from 'bullmq';
import { z } from 'zod';
import { identifier } from '../../shared/identifiers.ts';
import type { Module } from '../../shared/records/records.ts';
import { quarantineJob } from '../../shared/records/jobs.ts';
import type { RedisClient } from '../../shared/redis/connection.ts';
import { validate } from '../../shared/validate.ts';
import { notACursor, type Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';

/** Records of a page when no limit is given. At most MOST_RECORDS can be asked for. */
const PAGE = 100;
const MOST_RECORDS = 1_000;
/** Jobs read at once. Each of them holds a whole row, which may be four MiB long. */
const JOBS_AT_ONCE = 20;
/** Jobs to look through for one page of a user. Records beyond them come with the next page. */
const LOOKED_THROUGH = 2_000;

/** Exported because docs/calls.md is made from it. @public */
export const quarantineOptions = z.strictObject({
  userId: identifier.optional(),
  cursor: z.string().min(1).max(200).optional(),
  limit: z.int().min(1).max(MOST_RECORDS).optional(),
});
export type QuarantineOptions = z.input<typeof quarantineOptions>;

/** The fields of a job in quarantine that are shown, as far as the job has them. */
const shown = z.object({
  row: quarantineJob.shape.row.pick({ id: true, context_id: true, user_id: true, module: true }).strip(),
  error: quarantineJob.shape.error,
});
type Shown = z.output<typeof shown>;

export interface QuarantinedRecord {
  id: string;
  /** Null when the job came into the queue malformed; so are the three fields that follow. */
  contextId: string | null;
  userId: string | null;
  module: Module | null;
  /** The SQLSTATE or HTTP status with which Supabase refused the record. */
  supabaseCode: string | null;
  /** Why the record is in quarantine, in words. */
  reason: string;
  quarantinedAt: string;
}

/**
 * A job's place among the failed jobs. BullMQ keeps them by the time at which they failed, and jobs of one time by
 * their ids, byte by byte.
 */
interface Place {
  failedAt: number;
  id: string;
}

/**
 * Lists the records in the order in which Supabase refused them. A record that was retried and refused again stands
 * where its last refusal puts it. A page of one user may be empty without being the last, because only a bounded number
 * of jobs is looked through for a page.
 */
export async function listQuarantined(
  options: QuarantineOptions,
  { queue, redis }: CallParts,
): Promise<Page<QuarantinedRecord>> {
  const { userId, cursor, limit = PAGE } = validate(quarantineOptions, options, 'the options');
  const items: QuarantinedRecord[] = [];
  let looked = 0;
  for await (const { place, job } of failedJobs(cursor, queue('quarantine'), redis)) {
    looked += 1;
    const record = job && toQuarantined(job); // undefined when somebody has retried it in between
    if (record && (userId === undefined || record.userId === userId)) items.push(record);
    if (items.length < limit && looked < LOOKED_THROUGH) continue;
    return { items, nextCursor: toCursor(place), complete: true };
  }
  return { items, nextCursor: null, complete: true };
}

async function* failedJobs(
  cursor: string | undefined,
  queue: Queue,
  redis: RedisClient,
): AsyncGenerator<{ place: Place; job: Job | undefined }> {
  let last = cursor === undefined ? null : fromCursor(cursor);
  for (;;) {
    const places = await placesAfter(last, queue.toKey('failed'), redis);
    const jobs = await Promise.all(places.map(({ id }) => queue.getJob(id)));
    for (const [i, place] of places.entries()) yield { place, job: jobs[i] };
    last = places.at(-1) ?? null;
    if (last === null) return;
  }
}

function toQuarantined(job: Job): QuarantinedRecord {
  const { row, error } = quarantinedOf(job);
  return {
    id: job.id ?? '',
    contextId: row?.context_id ?? null,
    userId: row?.user_id ?? null,
    module: row?.module ?? null,
    supabaseCode: error?.code ?? null,
    reason: job.failedReason,
    quarantinedAt: new Date(job.timestamp).toISOString(),
  };
}

/**
 * The next failed jobs after a place. All jobs of the place's own time are read again: the job at the place may be gone
 * by now, so its rank is not known.
 */
async function placesAfter(place: Place | null, key: string, redis: RedisClient): Promise<Place[]> {
  const found: Place[] = [];
  const from = place === null ? 0 : await redis.zcount(key, '-inf', `(${place.failedAt}`);
  for (let start = from; found.length < JOBS_AT_ONCE; start += JOBS_AT_ONCE) {
    const flat = await redis.zrange(key, start, String(start + JOBS_AT_ONCE - 1), 'WITHSCORES');
    for (let i = 0; i < flat.length; i += 2) {
      const next = { id: flat[i] ?? '', failedAt: Number(flat[i + 1]) };
      if (place === null || isAfter(next, place)) found.push(next);
    }
    if (flat.length < 2 * JOBS_AT_ONCE) break;
  }
  return found.slice(0, JOBS_AT_ONCE);
}

function isAfter(a: Place, b: Place): boolean {
  return a.failedAt === b.failedAt ? Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)) > 0 : a.failedAt > b.failedAt;
}

function toCursor({ failedAt, id }: Place): string {
  return Buffer.from(`${failedAt}|${id}`).toString('base64url');
}

function fromCursor(cursor: string): Place {
  const [, failedAt, id = ''] = /^(\d{1,16})\|(.+)$/s.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (failedAt !== undefined) return { failedAt: Number(failedAt), id };
  throw notACursor(cursor);
}

/**
 * What a job in `quarantine` holds. Anybody can add a job there, so nothing is taken from one that is not well-formed.
 */
export function quarantinedOf({ data }: Job): Partial<Shown> {
  return shown.safeParse(data).data ?? {};
}
