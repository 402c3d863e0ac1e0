/**
 * **shared/short-term/**: everything that is kept in Redis: keys, scripts and what they mean. No other folder knows a key
 * or a script.
 */
import { ERASED_MESSAGE } from './erasures.ts';
import { MnemoqError } from '../errors.ts';
import { cachedEvent, committedRecord, eventsKept, quarantinedEvent } from './events.ts';
import type { Keys } from './keys.ts';
import { PENDING_GROUP } from './pending.ts';
import { parsePosition, positionOf } from '../records/position.ts';
import { fromCached, type MemoryRecord, toCached } from '../records/records.ts';
import type { RedisClient } from '../redis/connection.ts';
import { scanKeys } from '../redis/nodes.ts';
import { ACKNOWLEDGE, AFTER, DROP, ERASE, RECENT, REFILL, REMEMBER, REPLACE, SET_ASIDE } from './scripts.ts';
import { activeTraceparent } from '../telemetry/tracing.ts';

/** How long one process may take to refill a conversation before another process may try. */
const REFILL_LOCK_MS = 10_000;

/** How many keys Redis looks at in one step of a scan. */
const SCANNED_AT_ONCE = 1_000;

/** How long the count of turns, by which reflections become due, is kept after the last turn: 30 days. */
export const TURNS_COUNTED_MS = 30 * 86_400_000;

/** The floor of a conversation that is cached from its first record on. It sorts before every position. */
const BEGINNING = '0';

export interface Remembered {
  /** False when the record was there already, as it is in a repeated delivery. */
  added: boolean;
  /** How many records wait to be flushed in this part of the pending stream, this one included. */
  pendingLength: number;
  /** The record's entry in the pending stream; empty when the record is no longer pending. */
  entry: string;
  /** How many turns its user has in its conversation since the last reflection on them, where turns are counted. */
  turnsDue: number;
  /** Whether a reflection is asked for. */
  isReflectionAsked: boolean;
}

/** A record that Supabase has now. `inserted` is false when Supabase had a row with this id before. */
export interface Committed {
  record: MemoryRecord;
  entry: string;
  inserted: boolean;
}

export interface CachedRecords {
  /** Whether these are certainly all the records that were asked for. Otherwise Supabase must be asked too. */
  isWhole: boolean;
  records: MemoryRecord[];
}

type Script = (...args: (string | number)[]) => Promise<unknown>;
interface Scripts {
  mnemoqRemember: Script;
  mnemoqAcknowledge: Script;
  mnemoqSetAside: Script;
  mnemoqRecent: Script;
  mnemoqAfter: Script;
  mnemoqRefill: Script;
  mnemoqReplace: Script;
  mnemoqDrop: Script;
  mnemoqErase: Script;
}

/**
 * The recent past of every conversation, in Redis.
 *
 * The hash of a conversation holds its newest `limit` records and every uncommitted one, however many there are. Uncommitted
 * records are never trimmed, and a conversation that has any of them does not expire.
 *
 * The `floor` of a conversation is the position from which on the cache is complete: every record at or above it is in Redis.
 * A read that needs nothing below the floor does not need Supabase. Without a floor (a conversation has just begun, or has
 * come back after it expired) nothing is known, and the first read fills up from Supabase and sets the floor. Dropping a
 * record raises the floor.
 */
export class ShortTerm {
  readonly #redis: RedisClient & Scripts;
  readonly #keys: Keys;
  readonly #limit: number;
  readonly #ttlMs: number;
  readonly #countsTurns: boolean;
  readonly #eventsKept: number;

  constructor(redis: RedisClient, keys: Keys, options: { limit: number; ttlSeconds: number; countsTurns?: boolean }) {
    redis.defineCommand('mnemoqRemember', { lua: REMEMBER, numberOfKeys: 8 });
    redis.defineCommand('mnemoqAcknowledge', { lua: ACKNOWLEDGE, numberOfKeys: 7 });
    redis.defineCommand('mnemoqSetAside', { lua: SET_ASIDE, numberOfKeys: 3 });
    redis.defineCommand('mnemoqRecent', { lua: RECENT, numberOfKeys: 2, readOnly: true });
    redis.defineCommand('mnemoqAfter', { lua: AFTER, numberOfKeys: 3, readOnly: true });
    redis.defineCommand('mnemoqRefill', { lua: REFILL, numberOfKeys: 4 });
    redis.defineCommand('mnemoqReplace', { lua: REPLACE, numberOfKeys: 1 });
    redis.defineCommand('mnemoqDrop', { lua: DROP, numberOfKeys: 3 });
    redis.defineCommand('mnemoqErase', { lua: ERASE, numberOfKeys: 5 });
    this.#redis = redis as RedisClient & Scripts;
    this.#keys = keys;
    this.#limit = options.limit;
    this.#ttlMs = options.ttlSeconds * 1000;
    this.#countsTurns = options.countsTurns ?? false;
    this.#eventsKept = eventsKept(keys);
  }

  /** How many records a conversation keeps. */
  get limit(): number {
    return this.#limit;
  }

  /**
   * Adds a record to its conversation and to the pending stream, in one atomic step. A known id changes nothing.
   * Throws `erased` for a record of a user or a conversation that was erased.
   */
  async remember(record: MemoryRecord): Promise<Remembered> {
    const { contextId, id, userId } = record;
    const json = toCached(record);
    const shard = this.#keys.shardOf(contextId);
    const counts = this.#countsTurns && record.module === 'chat';
    const [added, pendingLength, entry, turnsDue, asked] = (await this.#redis.mnemoqRemember(
      ...this.#conversation(contextId),
      this.#keys.pending(shard),
      this.#keys.pendingIndex(shard),
      this.#keys.erased(shard),
      this.#keys.events(shard),
      this.#keys.reflector(contextId),
      id,
      positionOf(record),
      json,
      contextId,
      this.#limit,
      Buffer.byteLength(json),
      userId ?? '',
      this.#eventsKept,
      JSON.stringify(cachedEvent(record)),
      activeTraceparent(),
      counts ? TURNS_COUNTED_MS : 0,
    )) as [number, number, string, number, number];
    if (added === -1) throw new MnemoqError('erased', ERASED_MESSAGE);
    return { added: added === 1, pendingLength, entry, turnsDue, isReflectionAsked: asked === 1 };
  }

  /** Marks records of one conversation as committed: they leave the stream, and may be trimmed and expire from now on. */
  async acknowledge(contextId: string, committed: readonly Committed[]): Promise<void> {
    const shard = this.#keys.shardOf(contextId);
    await this.#redis.mnemoqAcknowledge(
      ...this.#conversation(contextId),
      this.#keys.refill(contextId),
      this.#keys.pending(shard),
      this.#keys.pendingIndex(shard),
      this.#keys.events(shard),
      PENDING_GROUP,
      this.#limit,
      this.#ttlMs,
      this.#eventsKept,
      JSON.stringify(contextId),
      ...committed.flatMap(({ record, entry, inserted }) => [
        record.id,
        positionOf(record),
        entry,
        inserted ? 1 : 0,
        JSON.stringify(committedRecord(record)),
      ]),
    );
  }

  /** Takes a refused record off the stream. The record stays readable and is kept until it is mended and acknowledged. */
  async setAside(record: MemoryRecord, entry: string, code: string): Promise<void> {
    await this.#takeOff(record.contextId, record.id, entry, JSON.stringify(quarantinedEvent(record, code)));
  }

  /** Takes an entry off the stream whose record is finished or gone. */
  async dropEntry(contextId: string, id: string, entry: string): Promise<void> {
    await this.#takeOff(contextId, id, entry, '');
  }

  async #takeOff(contextId: string, id: string, entry: string, event: string): Promise<void> {
    const shard = this.#keys.shardOf(contextId);
    await this.#redis.mnemoqSetAside(
      this.#keys.pending(shard),
      this.#keys.pendingIndex(shard),
      this.#keys.events(shard),
      PENDING_GROUP,
      id,
      entry,
      this.#eventsKept,
      event,
    );
  }

  /** Records of one conversation by their ids, in the order of the ids; null for one that is not cached. */
  async find(contextId: string, ids: readonly string[]): Promise<(MemoryRecord | null)[]> {
    const cached = await this.#redis.hmget(this.#keys.conversation(contextId), ...ids);
    return cached.map((json) => (json === null ? null : fromCached(contextId, json)));
  }

  /** The newest records of a conversation that Supabase does not have yet; `isWhole` when these are all. */
  async uncommitted(contextId: string, limit: number): Promise<CachedRecords> {
    const positions = await this.#redis.zrevrange(this.#keys.uncommitted(contextId), 0, limit - 1);
    if (positions.length === 0) return { isWhole: true, records: [] };
    // A record that is committed in between may be gone. Then Supabase has it.
    const found = await this.find(
      contextId,
      positions.map((position) => parsePosition(position).id),
    );
    return { isWhole: positions.length < limit, records: found.filter((record) => record !== null) };
  }

  /** Takes over a change to a record, such as its CID. Does nothing when the record is no longer cached. */
  async replace(record: MemoryRecord): Promise<void> {
    await this.#redis.mnemoqReplace(this.#keys.conversation(record.contextId), record.id, toCached(record));
  }

  /** Takes the records of a user, or without a user all of them, out of a conversation; says how many were there. */
  async erase(contextId: string, userId: string | undefined): Promise<{ cached: number; pending: number }> {
    const [cached, pending] = (await this.#redis.mnemoqErase(
      ...this.#conversation(contextId),
      this.#keys.refill(contextId),
      this.#keys.pendingIndex(this.#keys.shardOf(contextId)),
      // Inside a text these quotes would be escaped, so nothing else can look like this field.
      userId === undefined ? '' : `"userId":${JSON.stringify(userId)}`,
      this.#ttlMs,
    )) as [number, number];
    return { cached, pending };
  }

  /** Every cached conversation, about a thousand at a time. */
  async *cachedConversations(): AsyncGenerator<string[]> {
    for await (const keys of scanKeys(this.#redis, this.#keys.conversations, SCANNED_AT_ONCE)) {
      yield keys.map((key) => this.#keys.contextIdOf(key));
    }
  }

  /** Conversations that have something uncommitted and whose id begins with a prefix. */
  async uncommittedConversations(prefix: string): Promise<Set<string>> {
    const found = new Set<string>();
    for await (const keys of scanKeys(this.#redis, this.#keys.uncommittedConversations, SCANNED_AT_ONCE)) {
      for (const key of keys) {
        const contextId = this.#keys.contextIdOf(key);
        if (contextId.startsWith(prefix)) found.add(contextId);
      }
    }
    return found;
  }

  /** The newest cached records, oldest first. */
  async recent(contextId: string, limit: number): Promise<CachedRecords> {
    const [conversation, order] = this.#conversation(contextId);
    const [whole, cached] = (await this.#redis.mnemoqRecent(conversation, order, limit)) as [number, string[]];
    return { isWhole: whole === 1, records: cached.map((json) => fromCached(contextId, json)).toReversed() };
  }

  /**
   * Records after a position, without one from the beginning on, oldest first: of the whole conversation when it is cached
   * from its first record on, otherwise only of those that Supabase does not have yet.
   */
  async after(contextId: string, position: string | null, limit: number): Promise<CachedRecords> {
    const [whole, cached] = (await this.#redis.mnemoqAfter(
      ...this.#conversation(contextId),
      position ?? '',
      limit,
    )) as [number, string[]];
    return { isWhole: whole === 1, records: cached.map((json) => fromCached(contextId, json)) };
  }

  /**
   * For when Supabase got records past Redis: from now on nobody takes what is cached of a conversation for all there is. A
   * refill under way may have read Supabase before, so the refill is called off first.
   */
  async forgetFloor(contextId: string): Promise<void> {
    await this.#redis.del(this.#keys.refill(contextId));
    await this.#redis.hdel(this.#keys.conversation(contextId), 'floor');
  }

  /** Reserves a conversation for a refill; false while somebody else refills it. Call this before asking Supabase. */
  async beginRefill(contextId: string, token: string): Promise<boolean> {
    const reserved = await this.#redis.set(this.#keys.refill(contextId), token, 'PX', REFILL_LOCK_MS, 'NX');
    return reserved === 'OK';
  }

  /**
   * Puts back what Supabase has: its newest records, as many as a conversation keeps or all there are.
   * False when a commit came in between. Then the next read refills.
   */
  async refill(contextId: string, token: string, newest: readonly MemoryRecord[]): Promise<boolean> {
    const oldest = newest[0];
    const floor = oldest && newest.length >= this.#limit ? positionOf(oldest) : BEGINNING;
    const done = await this.#redis.mnemoqRefill(
      ...this.#conversation(contextId),
      this.#keys.refill(contextId),
      token,
      this.#limit,
      this.#ttlMs,
      floor,
      ...newest.flatMap((record) => [record.id, positionOf(record), toCached(record)]),
    );
    return done === 1;
  }

  /**
   * Drops the caches of conversations that Supabase has whole. A step looks at `count` of them, those with the least time to
   * live left come first, and after each step it tells how many it has dropped. Nothing uncommitted is touched.
   */
  async *dropCommitted(count: number): AsyncGenerator<number> {
    for (const part of [1 / 2, 1]) {
      for await (const keys of scanKeys(this.#redis, this.#keys.conversations, count)) {
        const dropped = await Promise.all(
          keys.map((key) => this.#drop(this.#keys.contextIdOf(key), this.#ttlMs * part)),
        );
        yield dropped.filter(Boolean).length;
      }
    }
  }

  async #drop(contextId: string, longestMs: number): Promise<boolean> {
    return (await this.#redis.mnemoqDrop(...this.#conversation(contextId), Math.ceil(longestMs))) === 1;
  }

  #conversation(contextId: string): [string, string, string] {
    return [this.#keys.conversation(contextId), this.#keys.order(contextId), this.#keys.uncommitted(contextId)];
  }
}
