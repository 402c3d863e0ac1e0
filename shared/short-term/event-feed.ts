import { setTimeout as sleep } from 'node:timers/promises';
import type { ErasureScope } from './erasures.ts';
import { MnemoqError } from '../errors.ts';
import type { Keys } from './keys.ts';
import type { MemoryRecord, Module, PinnedModule, Visibility } from '../records/records.ts';
import type { RedisClient } from './redis.ts';
import { compareEntries } from './stream-entries.ts';
import { countTokens } from '../records/tokens.ts';

/**
 * What has happened to records. The first two and the last are written by the script that makes the change
 * (short-term-scripts.ts), so an event is there exactly when its state is; `reflection.pinned` is written before its
 * summary and may come twice. Ids, counts and CIDs only: never a text, a token or a key.
 */
export const EVENT_TYPES = ['record.cached', 'records.committed', 'reflection.pinned', 'record.quarantined'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * How many events are kept at the least, over all parts: some minutes of thirty records a second, in 2 to 3 MB of Redis
 * with ids of usual length, under 40 MB with the longest ones. Whoever is away for longer is told that events were missed.
 */
export const EVENTS_KEPT = 10_000;

/** How often a follower that has everything looks for more. */
const POLL_MS = 200;
/** Events read at once from one part. */
const READ_AT_ONCE = 500;
/** After so many events that do not concern him a follower is told where he stands: a tenth of what is kept. */
const TELL_EVERY = EVENTS_KEPT / 10;
/** Where a part begins. */
const ORIGIN = '0-0';
/** A cursor before everything that is kept. */
export const BEGINNING = '0';

interface OfRecord {
  id: string;
  contextId: string;
  userId: string | null;
}

export interface EventData {
  'record.cached': OfRecord & { module: Module; tokenCount: number };
  'records.committed': { contextId: string; records: { id: string; userId: string | null; module: Module }[] };
  'reflection.pinned': OfRecord & {
    module: PinnedModule;
    cid: string;
    sha256: string;
    visibility: Visibility;
    pinnedAt: string;
  };
  /** `code` is the SQLSTATE or HTTP status with which Supabase refused it. */
  'record.quarantined': OfRecord & { module: Module; code: string };
  /** The follower was away for so long, or so slow, that events it has not seen are no longer kept. */
  'events.missed': Record<string, never>;
}

export type EventOf<T extends keyof EventData> = {
  [K in T]: {
    /** The same for every listener, however often it is told; null for `events.missed`. */
    id: K extends EventType ? string : null;
    type: K;
    /** ISO 8601, by Redis's clock. */
    at: string;
    data: EventData[K];
  };
}[T];
type StoredEvent = EventOf<EventType>;
export type MemoryEvent = EventOf<keyof EventData>;

/** An event, and where to go on after it. */
export interface Followed<E = MemoryEvent> {
  event: E;
  cursor: string;
}

export interface FollowOptions {
  /** A cursor, or BEGINNING; without it only what happens from now on. */
  after?: string | undefined;
  /** Only what concerns this user's records. */
  userId?: string | undefined;
  types?: readonly EventType[] | undefined;
  /**
   * Told now and then how far it has come where nothing concerned this follower: whoever resumes from there, and not from
   * the last event long ago, is not told of missed events that were none of his.
   */
  passed?: (cursor: string) => Promise<void>;
  signal: AbortSignal;
}

export function cachedEvent(record: MemoryRecord): EventData['record.cached'] {
  return { ...ofRecord(record), module: record.module, tokenCount: countTokens(record.tokens) };
}

/** One record's part of `records.committed`. */
export function committedRecord({ id, userId, module }: MemoryRecord): EventData['records.committed']['records'][0] {
  return { id, userId, module };
}

export function quarantinedEvent(record: MemoryRecord, code: string): EventData['record.quarantined'] {
  return { ...ofRecord(record), module: record.module, code };
}

type Pin = Omit<EventData['reflection.pinned'], 'userId' | 'module'> & {
  userId?: string | null;
  module?: PinnedModule;
};

export function pinnedEvent(pin: Pin): EventData['reflection.pinned'] {
  const { id, contextId, userId = null, module = 'reflection', cid, sha256, visibility, pinnedAt } = pin;
  return { id, contextId, userId, module, cid, sha256, visibility, pinnedAt };
}

function ofRecord({ id, contextId, userId }: MemoryRecord): OfRecord {
  return { id, contextId, userId };
}

interface Page {
  events: Followed<StoredEvent>[];
  /** Where the next page begins; null where nobody knows yet. */
  cursor: string | null;
  /** Events between the cursor and the first of these are no longer kept. */
  missed: boolean;
}

type Entry = [entry: string, fields: string[]];

/** The kept events of every part, as one sequence that can be left and taken up again anywhere. */
export class EventFeed {
  readonly #redis: RedisClient;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** The cursor after everything that has happened so far. */
  async now(): Promise<string> {
    const newest = await Promise.all(
      this.#keys.shards.map((shard) => this.#redis.xrevrange(this.#keys.events(shard), '+', '-', 'COUNT', 1)),
    );
    return newest.map(([last]) => last?.[0] ?? ORIGIN).join('_');
  }

  /** Events after a cursor, in their order; `limit` of each part at most. */
  async read(after: string, limit = READ_AT_ONCE): Promise<Page> {
    const places = this.#placesOf(after);
    const parts = await Promise.all(this.#keys.shards.map((shard, i) => this.#readPart(shard, places[i], limit)));
    const found = parts.flatMap(({ entries }, part) => entries.map((entry) => ({ part, entry })));
    found.sort((a, b) => compareEntries(a.entry[0], b.entry[0]) || a.part - b.part);
    const events = found.map(({ part, entry }) => {
      places[part] = entry[0];
      return { event: toEvent(entry, this.#keys.shards[part] ?? ''), cursor: places.join('_') };
    });
    for (const [part, { resume }] of parts.entries()) places[part] = resume ?? places[part] ?? ORIGIN;
    return { events, cursor: places.join('_'), missed: parts.some(({ missed }) => missed) };
  }

  /**
   * Every event after a cursor and then each one as it happens, until `signal` says stop. An outage of Redis is waited
   * for; nothing is lost and nothing comes twice by it. Throws `invalid_input` for what is no cursor.
   */
  follow({ after, ...options }: FollowOptions): AsyncGenerator<Followed> {
    return this.#follow(after === undefined ? null : this.#placesOf(after).join('_'), options);
  }

  async *#follow(start: string | null, { userId, types, passed, signal }: FollowOptions): AsyncGenerator<Followed> {
    let cursor = start;
    let unwanted = 0;
    while (!signal.aborted) {
      const page: Page = await this.#insist(cursor);
      if (page.missed) yield { event: missedEvent(), cursor: cursor ?? BEGINNING };
      const wanted = page.events.flatMap(({ event, cursor: place }) => {
        const narrowed = narrow(event, userId, types);
        return narrowed ? [{ event: narrowed, cursor: place }] : [];
      });
      for (const followed of wanted) {
        if (!signal.aborted) yield followed;
      }
      unwanted = wanted.length > 0 ? 0 : unwanted + page.events.length;
      cursor = page.cursor;
      if (cursor !== null && unwanted >= TELL_EVERY && !signal.aborted) {
        await passed?.(cursor);
        unwanted = 0;
      }
      if (page.events.length === 0) await sleep(POLL_MS, null, { signal }).catch(() => undefined);
    }
  }

  /** The page after a cursor, an empty one at where everything ends now without a cursor; nothing while Redis is away. */
  async #insist(cursor: string | null): Promise<Page> {
    try {
      return cursor === null ? { events: [], cursor: await this.now(), missed: false } : await this.read(cursor);
    } catch (error) {
      if (isOurs(error)) throw error;
      return { events: [], cursor, missed: false };
    }
  }

  /**
   * Reads from the place itself on: where it is still there, nothing after it was trimmed, for the oldest go first. Where
   * it is not, something may have been; where nothing that old or newer is there, Redis has lost its newest data, and
   * reading goes on (`resume`) after what it has.
   */
  async #readPart(shard: string, place = ORIGIN, limit = READ_AT_ONCE) {
    const key = this.#keys.events(shard);
    const entries = (await this.#redis.xrange(key, place, '+', 'COUNT', limit + 1)) as Entry[];
    const [first] = entries;
    if (first?.[0] === place) return { entries: entries.slice(1), missed: false, resume: null };
    if (first) {
      const missed = place !== ORIGIN || (await this.#wasTrimmed(key));
      return { entries: entries.slice(0, limit), missed, resume: null };
    }
    if (place === ORIGIN) return { entries: [], missed: false, resume: null };
    const [last] = await this.#redis.xrevrange(key, '+', '-', 'COUNT', 1);
    return { entries: [], missed: true, resume: last?.[0] ?? ORIGIN };
  }

  /** Lets go of all events but the newest of each part, which tells followers where they stand. */
  async trim(): Promise<void> {
    await Promise.all(this.#keys.shards.map((shard) => this.#redis.xtrim(this.#keys.events(shard), 'MAXLEN', 1)));
  }

  /** Takes out every event that names the user, or the conversation, or both where both are given. */
  async erase({ userId, contextId }: ErasureScope): Promise<number> {
    let erased = 0;
    for (const shard of this.#keys.shards) {
      const key = this.#keys.events(shard);
      for (let from = '-'; from !== '';) {
        const entries = (await this.#redis.xrange(key, from, '+', 'COUNT', READ_AT_ONCE)) as Entry[];
        const named = entries.filter((entry) => names(toEvent(entry, shard), userId, contextId));
        if (named.length > 0) erased += await this.#redis.xdel(key, ...named.map(([entry]) => entry));
        from = entries.length < READ_AT_ONCE ? '' : `(${entries.at(-1)?.[0]}`;
      }
    }
    return erased;
  }

  /** Redis counts what was ever added since 7.0. */
  async #wasTrimmed(key: string): Promise<boolean> {
    const about = (await this.#redis.xinfo('STREAM', key)) as unknown[];
    const field = (name: string) => Number(about[about.indexOf(name) + 1]);
    return field('entries-added') > field('length');
  }

  /** Where a cursor stands in each part. Throws `invalid_input` for what is no cursor of this Redis. */
  #placesOf(cursor: string): string[] {
    if (cursor === BEGINNING) return this.#keys.shards.map(() => ORIGIN);
    const places = cursor.split('_');
    if (places.length === this.#keys.shards.length && places.every((place) => /^\d{1,15}-\d{1,15}$/.test(place))) {
      return places;
    }
    const expected = 'the id of an event that was sent';
    throw new MnemoqError('invalid_input', `after: expected ${expected}, received another text`, {
      problems: [{ field: 'after', expected, received: `a string of ${cursor.length} characters` }],
    });
  }
}

/** What Redis refuses or does not answer is asked again; a mistake of our own is not. */
function isOurs(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
}

function toEvent([entry, fields]: Entry, shard: string): StoredEvent {
  const { type, data } = Object.fromEntries(
    Array.from({ length: fields.length / 2 }, (_, i) => [fields[2 * i], fields[2 * i + 1]]),
  );
  const id = shard ? `${shard.slice(1, -1)}-${entry}` : entry; // no colon: it becomes a job's id
  return { id, type, at: new Date(Number.parseInt(entry, 10)).toISOString(), data: JSON.parse(data ?? '{}') };
}

function missedEvent(): MemoryEvent {
  return { id: null, type: 'events.missed', at: new Date().toISOString(), data: {} };
}

function names(event: StoredEvent, userId: string | undefined, contextId: string | undefined): boolean {
  return (contextId === undefined || event.data.contextId === contextId) && narrow(event, userId, undefined) !== null;
}

/** The event as far as it concerns a user and was asked for; null where it does not. */
function narrow(event: StoredEvent, userId: string | undefined, types: readonly EventType[] | undefined) {
  if (types && !types.includes(event.type)) return null;
  if (userId === undefined) return event;
  if (event.type !== 'records.committed') return event.data.userId === userId ? event : null;
  const records = event.data.records.filter((record) => record.userId === userId);
  return records.length > 0 ? { ...event, data: { ...event.data, records } } : null;
}
