/**
 * **shared/records/**: what a record, a job and a row are, and how text becomes tokens and comes back. It knows no store.
 */
import { toMoment } from '../moments.ts';
import type { Tokens } from './tokens.ts';

/** What a record is: a turn, or one of the texts that are committed at once and pinned. */
export const MODULES = ['chat', 'reflection', 'finetune', 'knowledge'] as const;
export type Module = (typeof MODULES)[number];
export const PINNED_MODULES = ['reflection', 'finetune', 'knowledge'] as const;
export type PinnedModule = (typeof PINNED_MODULES)[number];

/** Whether everybody may read the text of a pinned document, or only who has its key. */
export const VISIBILITIES = ['private', 'public'] as const;
export type Visibility = (typeof VISIBILITIES)[number];

/** A record once its worker has tokenized it. This is what the tiers hold. */
export interface MemoryRecord {
  id: string;
  contextId: string;
  userId: string | null;
  module: Module;
  /** ISO 8601, in UTC, with milliseconds. */
  createdAt: string;
  tokens: Tokens;
  /** The text as MEMORY_TEXT_CACHE keeps it for people who need it readable or searchable; null when that is off. */
  textCache: string | null;
  cid: string | null;
}

/** A row of `memories`. */
export interface MemoryRow {
  id: string;
  user_id: string | null;
  context_id: string;
  tokens: Tokens;
  text_cache: string | null;
  module: Module;
  cid: string | null;
  created_at: string;
}

export function toRow(record: MemoryRecord): MemoryRow {
  return {
    id: record.id,
    user_id: record.userId,
    context_id: record.contextId,
    tokens: record.tokens,
    text_cache: record.textCache,
    module: record.module,
    cid: record.cid,
    created_at: record.createdAt,
  };
}

/** What a record is, without what it says and where it is pinned. */
export type RecordHead = Pick<MemoryRecord, 'id' | 'contextId' | 'userId' | 'module' | 'createdAt'>;

export function headOf(row: Omit<MemoryRow, 'tokens' | 'text_cache' | 'cid'>): RecordHead {
  return {
    id: row.id,
    contextId: row.context_id,
    userId: row.user_id,
    module: row.module,
    createdAt: toMoment(row.created_at),
  };
}

export function fromRow(row: MemoryRow): MemoryRecord {
  return { ...headOf(row), tokens: row.tokens, textCache: row.text_cache, cid: row.cid };
}

/** The form a record takes in a conversation's hash: `{"user":[…],"assistant":[…],"timestamp":"…", …}`. */
export function toCached(record: MemoryRecord): string {
  const { createdAt, tokens, contextId: _inTheKey, ...rest } = record;
  return JSON.stringify({ ...tokens, timestamp: createdAt, ...rest });
}

export function fromCached(contextId: string, cached: string): MemoryRecord {
  const { timestamp, id, userId, module, textCache, cid, ...tokens } = JSON.parse(cached);
  return { id, contextId, userId, module, createdAt: timestamp, tokens, textCache, cid };
}
