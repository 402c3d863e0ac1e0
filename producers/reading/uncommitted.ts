import type { MemoryRecord } from '../../shared/records/records.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { quarantinedOf } from '../saving/quarantine.ts';

/** Uncommitted records one search looks through: five times as many as start a flush unless told otherwise. */
const MOST_RECORDS = 5_000;
/** And as many bytes of them. */
const MOST_BYTES = 64 * 1024 * 1024;
/** Of those set aside, each of which is a job with a whole row in it. */
const MOST_SET_ASIDE = 200;

export interface Uncommitted {
  records: MemoryRecord[];
  /** False when there are more than one search looks through; then these are the newest. */
  isWhole: boolean;
}

/** What is in Redis and not yet in Supabase: of a user, a conversation, both or all. */
export async function readUncommitted(
  { userId, contextId }: { userId?: string | undefined; contextId?: string | undefined },
  parts: CallParts,
): Promise<Uncommitted> {
  const { records, isWhole } =
    contextId === undefined ? await ofAll(parts) : await parts.shortTerm.uncommitted(contextId, MOST_RECORDS);
  return { records: records.filter((record) => userId === undefined || record.userId === userId), isWhole };
}

/** Pending ones by the stream, those set aside by their jobs. */
async function ofAll({ pending, shortTerm, queue }: CallParts): Promise<Uncommitted> {
  const entries = await pending.newest(MOST_RECORDS);
  const jobs = await queue('quarantine').getFailed(0, MOST_SET_ASIDE - 1);
  const setAside = jobs
    .map(quarantinedOf)
    .flatMap(({ row }) => (row ? [{ id: row.id, contextId: row.context_id }] : []));
  let bytes = 0;
  const near = entries.filter((entry) => (bytes += entry.bytes) <= MOST_BYTES);
  const byConversation = Map.groupBy([...near, ...setAside], ({ contextId }) => contextId);
  const records = new Map<string, MemoryRecord>();
  for (const [contextId, those] of byConversation) {
    for (const record of await shortTerm.find(contextId, [...new Set(those.map(({ id }) => id))])) {
      if (record) records.set(record.id, record);
    }
  }
  const isWhole = near.length < MOST_RECORDS && near.length === entries.length && jobs.length < MOST_SET_ASIDE;
  return { records: [...records.values()], isWhole };
}
