import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReplyError } from 'ioredis';
import type { Keyring } from '../shared/encryption.ts';
import { isError, MnemoqError } from '../shared/errors.ts';
import type { LongTerm } from '../shared/long-term.ts';
import { byPosition, type MemoryRecord, type Module, moment, positionOf, recordId } from '../shared/records.ts';
import type { CachedRecords, ShortTerm } from '../shared/short-term.ts';
import type { Encoding } from '../shared/tokenizer.ts';
import { countTokens, decodeTokens, openTokens } from '../shared/tokens.ts';
import { describe } from '../shared/validate.ts';

/** How long to wait for somebody else's refill before asking Supabase as well. */
const REFILL_WAIT_MS = 2_000;
const REFILL_POLL_MS = 20;

/** A record as text. A turn has `userMessage` and `assistantMessage`, everything else `text`. */
export interface ContextRecord {
  id: string;
  contextId: string;
  userId: string | null;
  module: Module;
  createdAt: string;
  tokenCount: number;
  cid: string | null;
  userMessage?: string;
  assistantMessage?: string;
  text?: string;
}

/** A message as chat models take it; a reflection or another single text is a system message. */
export interface ContextMessage {
  role: 'user' | 'assistant' | 'system';
  content: string;
}

/** A record as token ids. */
export type ContextTokens = { id: string; encoding: Encoding } & (
  { user: number[]; assistant: number[] } | { text: number[] }
);

export type ContextFormat = 'turns' | 'messages' | 'tokens';
export type Formatted = { turns: ContextRecord; messages: ContextMessage; tokens: ContextTokens };

/** Some records, and whether they are all that was asked for. */
export interface ReadRecords {
  /** False only when the caller allows partial reads and Supabase is away: then committed records may be missing. */
  complete: boolean;
  records: MemoryRecord[];
}

/**
 * Reads conversations: from Redis where it certainly holds what is asked for, filled up from Supabase where it does not.
 * Redis is always read before Supabase, so a record that is committed in between is seen in one of the two.
 */
export class ContextReader {
  readonly #shortTerm: ShortTerm;
  readonly #longTerm: LongTerm;

  constructor(shortTerm: ShortTerm, longTerm: LongTerm) {
    this.#shortTerm = shortTerm;
    this.#longTerm = longTerm;
  }

  /** The newest records, oldest first. */
  async recent(contextId: string, limit: number, allowPartial: boolean): Promise<ReadRecords> {
    const cached = await this.#shortTerm.recent(contextId, limit);
    return cached.complete ? cached : this.#fillUp(contextId, limit, cached, allowPartial);
  }

  /** One page in order, after a position. */
  async after(contextId: string, position: string | null, limit: number, allowPartial: boolean): Promise<ReadRecords> {
    const cached = await this.#shortTerm.after(contextId, position, limit);
    if (cached.complete) return cached;
    return orPartial(cached, allowPartial, async () => {
      const committed = await this.#longTerm.after(contextId, position, limit);
      return merge(cached.records, committed).slice(0, limit);
    });
  }

  async #fillUp(contextId: string, limit: number, cached: CachedRecords, allowPartial: boolean): Promise<ReadRecords> {
    const token = randomUUID();
    const mine = await orWithout(this.#shortTerm.beginRefill(contextId, token));
    const refilled = mine === false ? await this.#awaitRefill(contextId, limit) : null;
    if (refilled?.complete) return refilled;
    return orPartial(cached, allowPartial, async () => {
      const newest = await this.#longTerm.recent(contextId, Math.max(limit, this.#shortTerm.limit));
      if (mine) await orWithout(this.#shortTerm.refill(contextId, token, newest.slice(-this.#shortTerm.limit)));
      return merge(cached.records, newest).slice(-limit);
    });
  }

  /** Somebody refills this conversation: their result will do, unless it takes long or holds less than is asked for. */
  async #awaitRefill(contextId: string, limit: number): Promise<CachedRecords | null> {
    if (limit > this.#shortTerm.limit) return null;
    for (let waited = 0; waited < REFILL_WAIT_MS; waited += REFILL_POLL_MS) {
      await sleep(REFILL_POLL_MS);
      const cached = await this.#shortTerm.recent(contextId, limit);
      if (cached.complete) return cached;
    }
    return null;
  }
}

/** A refill is a favour to the next read: this one goes on where Redis answers that it takes no writes (null), being full. */
async function orWithout<T>(write: Promise<T>): Promise<T | null> {
  return write.catch((error) => {
    if (error instanceof ReplyError) return null;
    throw error;
  });
}

async function orPartial(
  cached: CachedRecords,
  allowPartial: boolean,
  read: () => Promise<MemoryRecord[]>,
): Promise<ReadRecords> {
  try {
    return { complete: true, records: await read() };
  } catch (error) {
    if (allowPartial && isError(error, 'long_term_unavailable')) return { complete: false, records: cached.records };
    throw error;
  }
}

/** Both in order, each id once. Where both have a record the cached one wins: it may be newer by its CID. */
function merge(cached: readonly MemoryRecord[], committed: readonly MemoryRecord[]): MemoryRecord[] {
  const byId = new Map([...committed, ...cached].map((record) => [record.id, record]));
  return [...byId.values()].toSorted(byPosition);
}

/** The newest records whose tokens together fit the budget, oldest first; the first one that does not fit ends it. */
export function withinBudget(records: readonly MemoryRecord[], maxTokens: number): MemoryRecord[] {
  let left = maxTokens;
  const start = records.findLastIndex((record) => (left -= countTokens(record.tokens)) < 0);
  return records.slice(start + 1);
}

export function format<F extends ContextFormat>(
  as: F,
  records: readonly MemoryRecord[],
  keyring: Keyring | null,
): Formatted[F][] {
  const formatters: { [K in ContextFormat]: (record: MemoryRecord) => Formatted[K][] } = {
    turns: (record) => [toContextRecord(record, keyring)],
    messages: (record) => toMessages(record, keyring),
    tokens: (record) => [{ id: record.id, ...openTokens(record.tokens, keyring, record.id) }],
  };
  return records.flatMap(formatters[as]);
}

export function toContextRecord(record: MemoryRecord, keyring: Keyring | null): ContextRecord {
  const { id, contextId, userId, module, createdAt, cid } = record;
  const text = decodeTokens(openTokens(record.tokens, keyring, id));
  const head = { id, contextId, userId, module, createdAt, tokenCount: countTokens(record.tokens), cid };
  return 'text' in text ? { ...head, ...text } : { ...head, userMessage: text.user, assistantMessage: text.assistant };
}

function toMessages(record: MemoryRecord, keyring: Keyring | null): ContextMessage[] {
  const text = decodeTokens(openTokens(record.tokens, keyring, record.id));
  if ('text' in text) return [{ role: 'system', content: text.text }];
  return [
    { role: 'user', content: text.user },
    { role: 'assistant', content: text.assistant },
  ];
}

/** A page's end as an opaque word, and back. */
export function toCursor(record: MemoryRecord): string {
  return Buffer.from(positionOf(record)).toString('base64url');
}

export function fromCursor(cursor: string): string {
  const position = Buffer.from(cursor, 'base64url').toString();
  const [createdAt = '', id = '', ...rest] = position.split('|');
  const exists = moment.safeParse(createdAt).data === createdAt && recordId.safeParse(id).data === id;
  if (exists && rest.length === 0) return position;
  throw new MnemoqError(
    'invalid_input',
    `cursor: expected a nextCursor of an earlier page, received ${describe(cursor)}`,
    {
      problems: [{ field: 'cursor', expected: 'a nextCursor of an earlier page', received: describe(cursor) }],
    },
  );
}
