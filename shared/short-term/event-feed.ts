import { setTimeout as sleep } from 'node:timers/promises';
import { MnemoqError } from '../errors.ts';
import type { RedisClient } from '../redis/connection.ts';
import { addedAt, compareEntries, fieldsOf, type StreamEntry } from '../redis/stream-entries.ts';
import type { ErasureScope } from './erasures.ts';
import { EVENTS_KEPT, type EventType, type MemoryEvent, type StoredEvent } from './events.ts';
import type { Keys } from './keys.ts';

/** How often a follower that has everything looks for more. */
const POLL_MS = 200;
/** Events read at once from one part. */
const READ_AT_ONCE = 500;
/** After so many events that do not concern a follower it is told where it stands: a tenth of what is kept. */
const TELL_EVERY = EVENTS_KEPT / 10;
/** The place before the first entry of a part. */
const ORIGIN = '0-0';
/** A cursor before everything that is kept. */
export const BEGINNING = '0';

/** An event, and where to go on after it. */
export interface Followed<E = MemoryEvent> {
  event: E;
  cursor: string;
}

/** What `followEvents` gives. */
export interface Following {
  /** The place from which it follows, for a later call. */
  cursor: string;
  events: AsyncGenerator<Followed>;
}

export interface FollowOptions {
  /** A cursor, or BEGINNING; without it only what happens from now on. */
  cursor?: string | undefined;
  /** Only what concerns this user's records. */
  userId?: string | undefined;
  types?: readonly EventType[] | undefined;
  /**
   * Is told now and then how far the feed has come where nothing concerned this follower. A follower who resumes from there,
   * and not from its last event long ago, is not told of missed events that did not concern it.
   */
  passed?: (cursor: string) => Promise<void>;
  signal: AbortSignal;
}

interface Page {
  events: Followed<StoredEvent>[];
  /** Where the next page begins; null where that is not known yet. */
  cursor: string | null;
  /** Whether events between the cursor and the first of these are no longer kept. */
  missed: boolean;
}

/** The kept events of every part, as one sequence that can be left and taken up again at any place. */
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

  /** Events after a cursor, in their order, at most `limit` of each part. */
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
   * Every event after a cursor, and then each one as it happens, until `signal` says stop. During an outage of Redis it
   * waits: nothing is lost and nothing comes twice. Throws `invalid_input` for what is not a cursor.
   */
  follow({ cursor, ...options }: FollowOptions): AsyncGenerator<Followed> {
    return this.#follow(cursor === undefined ? null : this.#placesOf(cursor).join('_'), options);
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

  /**
   * The page after a cursor. Without a cursor an empty page that stands where everything ends now; while Redis is away an
   * empty page that stands where it was.
   */
  async #insist(cursor: string | null): Promise<Page> {
    try {
      return cursor === null ? { events: [], cursor: await this.now(), missed: false } : await this.read(cursor);
    } catch (error) {
      if (isOurs(error)) throw error;
      return { events: [], cursor, missed: false };
    }
  }

  /**
   * Reads from the entry at the place itself on. Where that entry is still there, nothing after it was trimmed, because the
   * oldest entries go first. Where it is gone, later ones may be gone as well. Where there is nothing as old or newer, Redis
   * has lost its newest data, and reading goes on after what Redis has (`resume`).
   */
  async #readPart(shard: string, place = ORIGIN, limit = READ_AT_ONCE) {
    const key = this.#keys.events(shard);
    const entries = (await this.#redis.xrange(key, place, '+', 'COUNT', limit + 1)) as StreamEntry[];
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

  /** Drops all events but the newest one of each part, by which followers see where they stand. */
  async trim(): Promise<void> {
    await Promise.all(this.#keys.shards.map((shard) => this.#redis.xtrim(this.#keys.events(shard), 'MAXLEN', 1)));
  }

  /** Deletes every event that names the user, or the conversation, or both where both are given; says how many there were. */
  async erase({ userId, contextId }: ErasureScope): Promise<number> {
    let erased = 0;
    for (const shard of this.#keys.shards) {
      const key = this.#keys.events(shard);
      for (let from = '-'; from !== '';) {
        const entries = (await this.#redis.xrange(key, from, '+', 'COUNT', READ_AT_ONCE)) as StreamEntry[];
        const named = entries.filter((entry) => names(toEvent(entry, shard), userId, contextId));
        if (named.length > 0) erased += await this.#redis.xdel(key, ...named.map(([entry]) => entry));
        from = entries.length < READ_AT_ONCE ? '' : `(${entries.at(-1)?.[0]}`;
      }
    }
    return erased;
  }

  /** Whether a part ever had more entries than it has now. Redis counts that since 7.0. */
  async #wasTrimmed(key: string): Promise<boolean> {
    const about = (await this.#redis.xinfo('STREAM', key)) as unknown[];
    const field = (name: string) => Number(about[about.indexOf(name) + 1]);
    return field('entries-added') > field('length');
  }

  /** Where a cursor stands in each part. Throws `invalid_input` for what is not a cursor of this Redis. */
  #placesOf(cursor: string): string[] {
    if (cursor === BEGINNING) return this.#keys.shards.map(() => ORIGIN);
    const places = cursor.split('_');
    if (places.length === this.#keys.shards.length && places.every((place) => /^\d{1,15}-\d{1,15}$/.test(place))) {
      return places;
    }
    const expected = 'the id of an event that was sent';
    throw new MnemoqError('invalid_input', `cursor: expected ${expected}, received another text`, {
      problems: [{ field: 'cursor', expected, received: `a string of ${cursor.length} characters` }],
    });
  }
}

/** Whether an error is a mistake of our own. What Redis refuses or does not answer is asked again, our mistakes are not. */
function isOurs(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
}

function toEvent(stored: StreamEntry, shard: string): StoredEvent {
  const [entry] = stored;
  const { type, data } = fieldsOf(stored);
  const id = shard ? `${shard.slice(1, -1)}-${entry}` : entry; // without a colon, because it becomes the id of a job
  return { id, type, at: new Date(addedAt(entry)).toISOString(), data: JSON.parse(data ?? '{}') } as StoredEvent;
}

function missedEvent(): MemoryEvent {
  return { id: null, type: 'events.missed', at: new Date().toISOString(), data: {} };
}

function names(event: StoredEvent, userId: string | undefined, contextId: string | undefined): boolean {
  return (contextId === undefined || event.data.contextId === contextId) && narrow(event, userId, undefined) !== null;
}

/** The part of an event that concerns a user and was asked for; null where there is none. */
function narrow(event: StoredEvent, userId: string | undefined, types: readonly EventType[] | undefined) {
  if (types && !types.includes(event.type)) return null;
  if (userId === undefined) return event;
  if (event.type !== 'records.committed') return event.data.userId === userId ? event : null;
  const records = event.data.records.filter((record) => record.userId === userId);
  return records.length > 0 ? { ...event, data: { ...event.data, records } } : null;
}
