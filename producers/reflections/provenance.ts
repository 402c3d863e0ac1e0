import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import type { RecordHead, Module } from '../../shared/records/records.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { recordId } from '../../shared/identifiers.ts';
import { validate } from '../../shared/validate.ts';
import type { Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { portionsOf } from '../parts/portions.ts';
import { inReadTime, scope } from '../reading/reading.ts';
import { ASKED_AT_ONCE, cidText, type ListedReflection, withPrevious } from './reflections.ts';

/** Reflections to follow back when no limit is given. Each of them takes a request or two. */
const LINKS = 20;
const MOST_LINKS = 100;

export const traceOptions = scope.extend({
  cursor: cidText.optional(),
  limit: z.int().min(1).max(MOST_LINKS).optional(),
});
export type TraceOptions = z.input<typeof traceOptions>;

/** A reflection is named by its CID or by the id of its record. */
const reflectionAddress = z.union([recordId, cidText], 'a CID such as bafkrei…, or a UUID');

/** A record from which a reflection was made; `inspect` gives its text. */
export interface TraceSource {
  id: string;
  /** True when no tier has the record any more, for example after an erasure. Then nothing else is known of it. */
  missing: boolean;
  contextId: string | null;
  userId: string | null;
  module: Module | null;
  createdAt: string | null;
}

/** One reflection of a chain. */
export interface TraceLink {
  cid: string;
  /** True when the reflection has no row any more. Then nothing else is known of it, and the chain ends here. */
  missing: boolean;
  reflection: ListedReflection | null;
  /** The records from which it was made, in the order of its `sourceIds`. */
  sources: TraceSource[];
}

/**
 * Newest first: the reflection that was asked for, the one before it, and so on. Complete when every reflection and
 * every source of them is there.
 */
export type Trace = Page<TraceLink>;

/** Follows where a reflection comes from: its sources, the reflection before it, the sources of that one, and so on. */
export async function traceReflection(address: string, options: TraceOptions, parts: CallParts): Promise<Trace> {
  const known = validate(reflectionAddress, address, 'the reflection');
  const { cursor = null, limit = LINKS, userId } = validate(traceOptions, options, 'the options');
  return inReadTime(trace(known, { cursor, limit }, userId, parts), parts);
}

async function trace(
  address: string,
  { cursor, limit }: { cursor: string | null; limit: number },
  userId: string | undefined,
  parts: CallParts,
): Promise<Trace> {
  const find = async (by: { id: string } | { cid: string }) => {
    const row = await parts.longTerm.reflections.find(by);
    return row && (userId === undefined || row.user_id === userId) ? row : null;
  };
  const byId = recordId.safeParse(address);
  let row = await find(byId.success ? { id: byId.data } : { cid: address });
  if (!row) throw new MnemoqError('not_found', 'no reflection with this CID or id');
  const items: TraceLink[] = [];
  let next: string | null = cursor ?? row.cid;
  if (cursor !== null) row = await find({ cid: cursor });
  while (next !== null && items.length < limit) {
    items.push(row ? await toLink(row, userId, parts) : { cid: next, missing: true, reflection: null, sources: [] });
    next = row?.previous_cid ?? null;
    row = next === null ? null : await find({ cid: next });
  }
  const complete = items.every(({ missing, sources }) => !missing && sources.every((source) => !source.missing));
  return { items, nextCursor: next, complete };
}

async function toLink(row: ReflectionRow, userId: string | undefined, parts: CallParts): Promise<TraceLink> {
  const [reflections, heads] = await Promise.all([withPrevious([row], parts), headsOf(row, parts)]);
  const sources = row.source_ids.map((id): TraceSource => {
    const head = heads.get(id);
    const isTheirs = head && (userId === undefined || head.userId === userId);
    if (!isTheirs) return { id, missing: true, contextId: null, userId: null, module: null, createdAt: null };
    return { ...head, missing: false };
  });
  return { cid: row.cid, missing: false, reflection: reflections[0] ?? null, sources };
}

/**
 * The heads of the sources of a reflection. Redis is read first, as in every read, because a turn may be committed in
 * between. Most sources are in the conversation of the reflection, so only that one is looked up in Redis.
 */
async function headsOf(row: ReflectionRow, { shortTerm, longTerm }: CallParts): Promise<Map<string, RecordHead>> {
  const heads = new Map<string, RecordHead>();
  for (const ids of portionsOf(row.source_ids, ASKED_AT_ONCE)) {
    const cached = (await shortTerm.find(row.context_id, ids)).filter((record) => record !== null);
    const committed = cached.length === ids.length ? [] : await longTerm.memories.findHeads(ids);
    for (const { id, contextId, userId, module, createdAt } of [...committed, ...cached]) {
      heads.set(id, { id, contextId, userId, module, createdAt });
    }
  }
  return heads;
}
