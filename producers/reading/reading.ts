/**
 * **producers/reading/**: records that are given back as they are: conversations, pages, states. What is computed out
 * of many records belongs into `producers/questions/`.
 */
import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import { withinBudget } from '../../shared/records/messages.ts';
import { type MemoryRecord } from '../../shared/records/records.ts';
import { identifier, recordId } from '../../shared/identifiers.ts';
import { withinTime } from '../../shared/redis/within-time.ts';
import { countTokens, openTokens } from '../../shared/records/tokens.ts';
import { validate } from '../../shared/validate.ts';
import {
  type ContextFormat,
  type ContextRecord,
  format,
  type Formatted,
  fromCursor,
  toContextRecord,
  toCursor,
} from './context.ts';
import type { Reading } from '../../shared/tiers/context-reader.ts';
import type { Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';

/** Records of a page when no limit is given. */
const PAGE = 100;
/** Records to look at for a token budget when no limit is given. More than that is a history and not a context. */
const BUDGET_RECORDS = MAX_ROWS;

/** Whose records a read may see. */
export interface ReadOptions {
  /** Only the records of this user, as if no others existed; without it the records of everybody. */
  userId?: string;
}

/** A page of a conversation, oldest first. */
export interface ContextPage extends Page<ContextRecord> {
  contextId: string;
}

/**
 * The newest records that fit, oldest first. This is always the only page, because what does not fit was not asked for.
 */
export interface RecentContext<F extends ContextFormat> extends Page<Formatted[F]> {
  contextId: string;
  format: F;
  /** The tokens of all records in `items`. */
  tokenCount: number;
  nextCursor: null;
}

export interface Inspection {
  record: ContextRecord;
  tokens: Formatted['tokens'];
  /** The tier in which the record was found. */
  foundIn: 'redis' | 'supabase';
}

export const scope = z.strictObject({ userId: identifier.optional() });
export const pageOptions = scope.extend({
  cursor: z.string().min(1).max(200).optional(),
  limit: z.int().min(1).max(MAX_ROWS).optional(),
  allowPartial: z.boolean().optional(),
});
export const recentOptions = scope.extend({
  limit: z.int().min(1).max(MAX_ROWS).optional(),
  maxTokens: z.int().min(1).optional(),
  format: z.enum(['turns', 'messages', 'tokens']).optional(),
  allowPartial: z.boolean().optional(),
});
export type ContextPageOptions = z.input<typeof pageOptions>;
export type RecentOptions<F extends ContextFormat> = Omit<z.input<typeof recentOptions>, 'format'> & {
  format?: F | undefined;
};

/** The user whose records the options allow to be read; undefined when they allow everybody's. */
export function userOf(options: ReadOptions): string | undefined {
  return validate(scope, options, 'the options').userId;
}

/**
 * Bounds a read by the time that Redis may take and the time that Supabase may take. Throws `redis_unavailable` when it
 * takes longer than both.
 */
export async function inReadTime<T>(work: Promise<T>, { config }: Pick<CallParts, 'config'>): Promise<T> {
  return withinTime(work, config.redisTimeoutMs + config.supabaseTimeoutMs, 'reading');
}

/** One page of a conversation, oldest first. */
export async function readPage(contextId: string, options: ContextPageOptions, parts: CallParts): Promise<ContextPage> {
  validate(identifier, contextId, 'contextId');
  const { cursor, limit = PAGE, allowPartial = false, userId } = validate(pageOptions, options, 'the options');
  const position = cursor === undefined ? null : fromCursor(cursor);
  const reading: Reading = { contextId, limit, userId, allowPartial };
  const { records, isWhole } = await inReadTime(parts.reader.after(reading, position), parts);
  const last = records.at(-1);
  return {
    contextId,
    items: format('turns', records, parts.keyring),
    nextCursor: last && records.length === limit ? toCursor(last) : null,
    complete: isWhole,
  };
}

/** The newest records within a limit and a token budget, oldest first. */
export async function readRecent<F extends ContextFormat>(
  contextId: string,
  options: RecentOptions<F>,
  parts: CallParts,
): Promise<RecentContext<F>> {
  validate(identifier, contextId, 'contextId');
  const checked = validate(recentOptions, options, 'the options');
  const { limit, maxTokens, allowPartial = false, userId } = checked;
  const as = (checked.format ?? 'turns') as F;
  const read = (count: number) =>
    inReadTime(parts.reader.recent({ contextId, limit: count, userId, allowPartial }), parts);
  const { records, isWhole } =
    maxTokens === undefined
      ? await read(limit ?? parts.shortTerm.limit)
      : await readBudget(read, limit, maxTokens, parts.shortTerm.limit);
  const tokenCount = records.reduce((sum, record) => sum + countTokens(record.tokens), 0);
  const items = format(as, records, parts.keyring);
  return { contextId, format: as, tokenCount, items, nextCursor: null, complete: isWhole };
}

async function readBudget(
  read: (count: number) => ReturnType<CallParts['reader']['recent']>,
  limit: number | undefined,
  maxTokens: number,
  cachedLimit: number,
) {
  const first = await read(limit ?? cachedLimit);
  const fitting = withinBudget(first.records, maxTokens);
  // Only when everything in the cache fits may more records fit, and only then is Supabase asked.
  const roomLeft = limit === undefined && fitting.length === cachedLimit;
  const all = roomLeft ? await read(BUDGET_RECORDS) : first;
  return { records: withinBudget(all.records, maxTokens), isWhole: all.isWhole };
}

/** A record with its text and its token ids. It is read from Redis while it is there, and otherwise from Supabase. */
export async function inspectRecord(id: string, options: ReadOptions, parts: CallParts): Promise<Inspection> {
  const known = validate(recordId, id, 'id');
  const userId = userOf(options);
  const { record, foundIn } = await inReadTime(findRecord(known, parts), parts);
  if (userId !== undefined && record.userId !== userId) throw noRecord(known);
  const tokens = { id: record.id, ...openTokens(record.tokens, parts.keyring, record.id) };
  return { record: toContextRecord(record, parts.keyring), tokens, foundIn };
}

async function findRecord(
  id: string,
  { pending, shortTerm, longTerm }: CallParts,
): Promise<{ record: MemoryRecord; foundIn: 'redis' | 'supabase' }> {
  const located = await pending.locate(id);
  const [cached] = located ? await shortTerm.find(located.contextId, [id]) : [];
  if (cached) return { record: cached, foundIn: 'redis' };
  const record = await longTerm.memories.find(id);
  if (!record) throw noRecord(id);
  return { record, foundIn: 'supabase' };
}

function noRecord(id: string): MnemoqError {
  return new MnemoqError('not_found', `no record with id ${id}`);
}
