import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReplyError } from 'ioredis';
import { isError } from '../errors.ts';
import { MAX_ROWS } from '../long-term/long-term.ts';
import type { Memories } from '../long-term/memories.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { byPosition, positionOf } from '../records/position.ts';
import type { MemoryRecord } from '../records/records.ts';
import type { CachedRecords, ShortTerm } from '../short-term/short-term.ts';

/** How long to wait for the refill of another reader before asking Supabase as well. */
const REFILL_WAIT_MS = 2_000;
const REFILL_POLL_MS = 20;

/** What to read of a conversation. */
export interface Reading {
  contextId: string;
  limit: number;
  /** Only the records of this user are read; those of everybody when undefined. */
  userId: string | undefined;
  /** Whether the caller would rather have what Redis holds than nothing while Supabase is away. */
  allowPartial: boolean;
}

/** What a reader needs of Supabase. */
type CommittedRecords = Pick<Memories, 'recent' | 'after'>;

/** Some records, and whether they are all that was asked for. */
export interface ReadRecords {
  /** False only when the caller allows partial reads and Supabase is away. Then committed records may be missing. */
  isWhole: boolean;
  records: MemoryRecord[];
}

/**
 * Reads conversations: from Redis alone where Redis certainly holds what is asked for, and filled up from Supabase where it does
 * not. Redis is always read before Supabase, so a record that is committed in between is seen in one of the two.
 */
export class ContextReader {
  readonly #shortTerm: ShortTerm;
  readonly #memories: CommittedRecords;
  readonly #metrics: Metrics;

  constructor(shortTerm: ShortTerm, memories: CommittedRecords, metrics = new Metrics()) {
    this.#shortTerm = shortTerm;
    this.#memories = memories;
    this.#metrics = metrics;
  }

  /** The newest records, oldest first. */
  async recent(reading: Reading): Promise<ReadRecords> {
    if (reading.userId !== undefined) return this.#recentOfUser(reading);
    const cached = await this.#shortTerm.recent(reading.contextId, reading.limit);
    this.#count(cached.isWhole);
    return cached.isWhole ? cached : this.#fillUp(reading, cached);
  }

  /** One page of records after a position, oldest first. */
  async after(reading: Reading, position: string | null): Promise<ReadRecords> {
    const { contextId, limit, userId } = reading;
    const cached = await this.#cachedAfter(contextId, position, limit, userId);
    this.#count(cached.isWhole);
    if (cached.isWhole) return cached;
    return orPartial(cached, reading, async () => {
      const committed = await this.#memories.after(contextId, position, limit, userId);
      return merge(cached.records, committed).slice(0, limit);
    });
  }

  /** Whether the user has a cached record in the conversation that Supabase lacks, or has any where all of it is cached. */
  async hasUncommitted(contextId: string, userId: string): Promise<boolean> {
    return (await this.#cachedAfter(contextId, null, 1, userId)).records.length > 0;
  }

  #count(hit: boolean): void {
    this.#metrics.cacheReads.inc({ outcome: hit ? 'hit' : 'miss' });
  }

  /**
   * The cache holds the records of everybody. Those of the user in it may be all there are. Otherwise they are filled up with the
   * uncommitted ones of that user and with those that Supabase has.
   */
  async #recentOfUser(reading: Reading): Promise<ReadRecords> {
    const { contextId, limit, userId } = reading;
    const asked = Math.max(limit, this.#shortTerm.limit);
    const newest = await this.#shortTerm.recent(contextId, asked);
    const own = newest.records.filter((record) => record.userId === userId);
    const isAll = own.length >= limit || newest.records.length < asked;
    this.#count(newest.isWhole && isAll);
    if (newest.isWhole && isAll) return { isWhole: true, records: own.slice(-limit) };
    const uncommitted = await this.#cachedAfter(contextId, null, Infinity, userId);
    const cached = merge(own, uncommitted.records);
    return orPartial({ records: cached.slice(-limit) }, reading, async () =>
      merge(cached, await this.#memories.recent(contextId, limit, userId)).slice(-limit),
    );
  }

  /** A page of the cache. For the records of one user it reads as many pages as it takes. */
  async #cachedAfter(
    contextId: string,
    position: string | null,
    limit: number,
    userId: string | undefined,
  ): Promise<CachedRecords> {
    const page = Math.min(limit, MAX_ROWS);
    const records: MemoryRecord[] = [];
    let isWhole = true;
    let from = position;
    for (let isMore = true; isMore;) {
      const cached = await this.#shortTerm.after(contextId, from, page);
      isWhole &&= cached.isWhole;
      records.push(...cached.records.filter((record) => userId === undefined || record.userId === userId));
      const last = cached.records.at(-1);
      from = last ? positionOf(last) : from;
      isMore = cached.records.length === page && records.length < limit;
    }
    return { isWhole, records: records.slice(0, limit) };
  }

  async #fillUp(reading: Reading, cached: CachedRecords): Promise<ReadRecords> {
    const { contextId, limit } = reading;
    const token = randomUUID();
    const mine = await orWithout(this.#shortTerm.beginRefill(contextId, token));
    const refilled = mine === false ? await this.#awaitRefill(contextId, limit) : null;
    if (refilled?.isWhole) return refilled;
    return orPartial(cached, reading, async () => {
      const newest = await this.#memories.recent(contextId, Math.max(limit, this.#shortTerm.limit));
      if (mine) {
        const done = await orWithout(this.#shortTerm.refill(contextId, token, newest.slice(-this.#shortTerm.limit)));
        this.#metrics.cacheRefills.inc({ outcome: done === null ? 'failed' : done ? 'filled' : 'superseded' });
      }
      return merge(cached.records, newest).slice(-limit);
    });
  }

  /**
   * Another reader refills this conversation. Its result will do, unless that takes long or the cache keeps less than is asked
   * for.
   */
  async #awaitRefill(contextId: string, limit: number): Promise<CachedRecords | null> {
    if (limit > this.#shortTerm.limit) return null;
    for (let waited = 0; waited < REFILL_WAIT_MS; waited += REFILL_POLL_MS) {
      await sleep(REFILL_POLL_MS);
      const cached = await this.#shortTerm.recent(contextId, limit);
      if (cached.isWhole) return cached;
    }
    return null;
  }
}

/**
 * A refill is a favour to the next read, so this read goes on without it (null) where Redis answers that it takes no writes,
 * because it is full.
 */
async function orWithout<T>(write: Promise<T>): Promise<T | null> {
  return write.catch((error) => {
    if (error instanceof ReplyError) return null;
    throw error;
  });
}

async function orPartial(
  { records }: Pick<CachedRecords, 'records'>,
  { allowPartial }: Reading,
  read: () => Promise<MemoryRecord[]>,
): Promise<ReadRecords> {
  try {
    return { isWhole: true, records: await read() };
  } catch (error) {
    if (allowPartial && isError(error, 'supabase_unavailable')) return { isWhole: false, records };
    throw error;
  }
}

/** Both in order, each id once. Where both have a record the cached one wins, because it may have its CID already. */
function merge(cached: readonly MemoryRecord[], committed: readonly MemoryRecord[]): MemoryRecord[] {
  const byId = new Map([...committed, ...cached].map((record) => [record.id, record]));
  return [...byId.values()].toSorted(byPosition);
}
