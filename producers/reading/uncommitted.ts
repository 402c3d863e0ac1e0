import type { MemoryRecord } from '../../shared/records/records.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { quarantinedOf } from '../saving/quarantine-list.ts';

/** Uncommitted records that one search looks through, five times as many as start a flush by default. */
const MOST_RECORDS = 5_000;
/** Bytes of uncommitted records that one search looks through. */
const MOST_BYTES = 64 * 1024 * 1024;
/** Records in quarantine that one search looks through. Each of them is a job that holds a whole row. */
const MOST_SET_ASIDE = 200;

export interface Uncommitted {
  records: MemoryRecord[];
  /** False when there are more records than one search looks through. These are then the newest ones. */
  isWhole: boolean;
}

/**
 * The records that are in Redis and not yet in Supabase: of a user, of a conversation, of a user in a conversation, or
 * all.
 */
export async function readUncommitted(
  { userId, contextId }: { userId?: string | undefined; contextId?: string | undefined },
  parts: CallParts,
): Promise<Uncommitted> {
  const { records, isWhole } =
    contextId === undefined ? await ofAll(parts) : await parts.shortTerm.uncommitted(contextId, MOST_RECORDS);
  return { records: records.filter((record) => userId === undefined || record.userId === userId), isWhole };
}

/** The pending stream names the pending records, and the jobs in quarantine name those that were set aside. */
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
