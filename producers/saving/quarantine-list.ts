import type { Job, Queue } from 'bullmq';
import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import { identifier } from '../../shared/identifiers.ts';
import type { Module } from '../../shared/records/records.ts';
import { quarantineJob } from '../../shared/records/jobs.ts';
import type { RedisClient } from '../../shared/redis/connection.ts';
import { validate } from '../../shared/validate.ts';
import { notACursor, type Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';

/** Records of a page when no limit is given, and at most. */
const PAGE = 100;
const MOST_RECORDS = 1_000;
/** Jobs read at once: each has a whole row in it, which may be four MiB. */
const JOBS_AT_ONCE = 20;
/** Jobs looked through for one page of a user: what is beyond them comes with the next page. */
const LOOKED_THROUGH = 2_000;
const LONGEST_WAIT_MS = 600_000;

/** Exported because docs/calls.md is made from it. @public */
export const quarantineOptions = z.strictObject({
  userId: identifier.optional(),
  cursor: z.string().min(1).max(200).optional(),
  limit: z.int().min(1).max(MOST_RECORDS).optional(),
});
export type QuarantineOptions = z.input<typeof quarantineOptions>;

/** What is shown of a job in quarantine, where it is there. */
const shown = z.object({
  row: quarantineJob.shape.row.pick({ id: true, context_id: true, user_id: true, module: true }).strip(),
  error: quarantineJob.shape.error,
});
type Shown = z.output<typeof shown>;

export interface QuarantinedRecord {
  id: string;
  /** Null, like what follows, where the job came into the queue malformed. */
  contextId: string | null;
  userId: string | null;
  module: Module | null;
  /** The SQLSTATE or HTTP status with which Supabase refused it. */
  supabaseCode: string | null;
  /** Why it is here, in words. */
  reason: string;
  quarantinedAt: string;
}

/** A job's place among the failed ones, which BullMQ keeps by the time they failed, ties by id, byte by byte. */
interface Place {
  failedAt: number;
  id: string;
}

/**
 * In the order in which they were refused, those of one retry after it. A page of a user may be empty and not the last: jobs
 * are looked through a bounded number at a time.
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
    const record = job && toQuarantined(job); // one that is gone was retried in between
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

/** The next failed jobs. Those of one time are read whole: the job at the place may be gone, so no rank tells where it was. */
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

/** What a job in `quarantine` holds. Anybody can add one: of what is not as it should be nothing is taken. */
export function quarantinedOf({ data }: Job): Partial<Shown> {
  return shown.safeParse(data).data ?? {};
}

/** Tries one again, with a mended row if there is one, and waits for the end. */
export async function retryQuarantined(
  id: string,
  row: unknown,
  wait: number,
  { queue, submission }: CallParts,
): Promise<{ committed: boolean; reason: string | null }> {
  const mended = row === undefined ? null : validate(quarantineJob.shape.row, row, 'the row');
  validate(z.int().min(1).max(LONGEST_WAIT_MS), wait, 'wait');
  const job = await queue('quarantine').getJob(id);
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
