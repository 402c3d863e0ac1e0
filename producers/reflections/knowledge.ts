import { toMoment } from '../../shared/moments.ts';
import { z } from 'zod';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import { positionOf } from '../../shared/records/position.ts';
import { identifier } from '../../shared/identifiers.ts';
import { validate } from '../../shared/validate.ts';
import { fromCursor, toContextRecord, toCursor } from '../reading/context.ts';
import type { Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { inReadTime, scope } from '../reading/reading.ts';

const PAGE = 100;
/** Items to look through for one page of a query. What matches beyond them comes with the next page. */
const LOOKED_THROUGH = 10 * MAX_ROWS;

export const knowledgeOptions = scope.extend({
  query: identifier.optional(),
  cursor: z.string().min(1).max(200).optional(),
  limit: z.int().min(1).max(MAX_ROWS).optional(),
});
export type KnowledgeOptions = z.input<typeof knowledgeOptions>;

/** Something that everybody may read, by its CID. */
export interface KnowledgeItem {
  id: string;
  contextId: string;
  userId: string | null;
  cid: string;
  /** The SHA-256 of the text, in hex. */
  sha256: string;
  text: string;
  createdAt: string;
  pinnedAt: string;
}

/**
 * Pinned knowledge, newest first. With a query only what contains it, whatever the case of its letters; such a page may
 * be empty without being the last.
 */
export async function listKnowledge(options: KnowledgeOptions, parts: CallParts): Promise<Page<KnowledgeItem>> {
  const { query, cursor, limit = PAGE, userId } = validate(knowledgeOptions, options, 'the options');
  const start = cursor === undefined ? null : fromCursor(cursor);
  return inReadTime(list({ query: query?.toLowerCase(), limit, userId }, start, parts), parts);
}

async function list(
  { query, limit, userId }: { query: string | undefined; limit: number; userId: string | undefined },
  start: string | null,
  parts: CallParts,
): Promise<Page<KnowledgeItem>> {
  const items: KnowledgeItem[] = [];
  const pageSize = query === undefined ? limit : MAX_ROWS;
  let position = start;
  let nextCursor: string | null = null;
  for (let looked = 0; looked < LOOKED_THROUGH;) {
    const rows = await parts.longTerm.reflections.knowledge(position, pageSize, userId);
    for (const item of await withTexts(rows, parts)) {
      position = positionOf(item);
      nextCursor = toCursor(item);
      if (query === undefined || item.text.toLowerCase().includes(query)) items.push(item);
      if (items.length === limit) return { items, nextCursor, complete: true };
    }
    if (rows.length < pageSize) return { items, nextCursor: null, complete: true };
    looked += rows.length;
  }
  return { items, nextCursor, complete: true };
}

async function withTexts(rows: readonly ReflectionRow[], { longTerm, keyring }: CallParts): Promise<KnowledgeItem[]> {
  if (rows.length === 0) return [];
  const records = new Map(
    (await longTerm.memories.findMany(rows.map(({ id }) => id))).map((record) => [record.id, record]),
  );
  return rows.flatMap((row) => {
    const record = records.get(row.id);
    if (!record) return []; // erased since its row was read
    const { text = '' } = toContextRecord(record, keyring);
    const { id, contextId, userId, createdAt } = record;
    const pinnedAt = toMoment(row.pinned_at ?? row.created_at);
    return [{ id, contextId, userId, cid: row.cid, sha256: row.sha256, text, createdAt, pinnedAt }];
  });
}
