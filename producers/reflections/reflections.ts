/**
 * **producers/reflections/**: what callers do with reflections and knowledge. They ask for them, find them, and see
 * where they come from and whether they are what they say.
 */
import { z } from 'zod';
import { isCid } from '../../shared/pinning/ipfs.ts';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { PINNED_MODULES, type PinnedModule, type Visibility } from '../../shared/records/records.ts';
import { identifier } from '../../shared/identifiers.ts';
import { moment, toMoment } from '../../shared/moments.ts';
import { validate } from '../../shared/validate.ts';
import { fromCursor, toCursor } from '../reading/context.ts';
import type { Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { portionsOf } from '../parts/portions.ts';
import { inReadTime, scope, type ReadOptions, userOf } from '../reading/reading.ts';

/** Reflections of a page when no limit is given. */
const PAGE = 100;
/** CIDs or ids in one request. They stand in its URL, which proxies cut at 8 kB. */
export const ASKED_AT_ONCE = 100;

export interface Reflection {
  id: string;
  userId: string | null;
  cid: string;
  sha256: string;
  signature: string;
  visibility: Visibility;
  sourceIds: string[];
  /**
   * The CID of the newest reflection of the same module, conversation and user that was there before; null when there
   * was none.
   */
  previousCid: string | null;
  /** Null until the document is pinned. Until then `cid` is the one that was computed for it. */
  pinnedAt: string | null;
  createdAt: string;
}

/** A reflection in a list of several conversations. */
export interface ListedReflection extends Reflection {
  contextId: string;
  module: PinnedModule;
  /** True when the reflection before it has no row any more; null when there was none before it. */
  previousMissing: boolean | null;
}

/** A conversation's reflections, newest first. */
export interface ReflectionPage extends Page<ListedReflection> {
  contextId: string;
}

export const cidText = z.string().max(200).refine(isCid, 'a CID such as bafkrei…');
export const reflectionsOptions = scope.extend({
  contextId: identifier.optional(),
  module: z.enum(PINNED_MODULES).optional(),
  from: moment.optional(),
  to: moment.optional(),
  cid: cidText.optional(),
  cursor: z.string().min(1).max(200).optional(),
  limit: z.int().min(1).max(MAX_ROWS).optional(),
});
export type ReflectionsOptions = z.input<typeof reflectionsOptions>;

export const conversationReflectionsOptions = reflectionsOptions.pick({ userId: true, cursor: true, limit: true });
export type ConversationReflectionsOptions = z.input<typeof conversationReflectionsOptions>;

/** One page of a conversation's reflections, newest first. */
export async function readReflections(
  contextId: string,
  options: ConversationReflectionsOptions,
  parts: CallParts,
): Promise<ReflectionPage> {
  validate(identifier, contextId, 'contextId');
  const checked = validate(conversationReflectionsOptions, options, 'the options');
  return { contextId, ...(await listReflections({ ...checked, contextId, module: 'reflection' }, parts)) };
}

/** The CID of the newest reflection that is pinned; null when there is none. */
export async function newestCid(contextId: string, options: ReadOptions, parts: CallParts): Promise<string | null> {
  const userId = userOf(options);
  const whose = userId === undefined ? {} : { userId };
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await readReflections(contextId, { ...whose, ...(cursor && { cursor }) }, parts);
    const pinned = page.items.find(({ pinnedAt }) => pinnedAt !== null);
    if (pinned) return pinned.cid;
    cursor = page.nextCursor;
  }
  return null;
}

/** One page of everything that is pinned or will be, newest first. */
export async function listReflections(options: ReflectionsOptions, parts: CallParts): Promise<Page<ListedReflection>> {
  const { cursor, limit = PAGE, ...filter } = validate(reflectionsOptions, options, 'the options');
  const position = cursor === undefined ? null : fromCursor(cursor);
  const read = async () => withPrevious(await parts.longTerm.reflections.before(filter, position, limit), parts);
  const items = await inReadTime(read(), parts);
  const last = items.at(-1);
  return { items, nextCursor: last && items.length === limit ? toCursor(last) : null, complete: true };
}

/**
 * Adds whether the reflection before each one still has a row. Most have it among the same rows, so Supabase is asked
 * only for the others.
 */
export async function withPrevious(
  rows: readonly ReflectionRow[],
  { longTerm }: Pick<CallParts, 'longTerm'>,
): Promise<ListedReflection[]> {
  const known = new Set(rows.map(({ cid }) => cid));
  const named = rows.flatMap(({ previous_cid: cid }) => (cid === null || known.has(cid) ? [] : [cid]));
  const asked = [...new Set(named)];
  for (const cids of portionsOf(asked, ASKED_AT_ONCE)) {
    for (const cid of await longTerm.reflections.knownCids(cids)) known.add(cid);
  }
  return rows.map((row) => ({
    ...toReflection(row),
    contextId: row.context_id,
    module: row.module,
    previousMissing: row.previous_cid === null ? null : !known.has(row.previous_cid),
  }));
}

function toReflection(row: ReflectionRow): Reflection {
  return {
    id: row.id,
    userId: row.user_id,
    cid: row.cid,
    sha256: row.sha256,
    signature: row.signature,
    visibility: row.visibility,
    sourceIds: row.source_ids,
    previousCid: row.previous_cid,
    pinnedAt: row.pinned_at && toMoment(row.pinned_at),
    createdAt: toMoment(row.created_at),
  };
}
