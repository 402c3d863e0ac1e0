import { MnemoqError, messageOf } from '../errors.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from '../redis/connection.ts';
import { addedAt, fieldsOf } from '../redis/stream-entries.ts';

/** The consumer group that all flush workers share, so that each entry goes to one of them. */
export const PENDING_GROUP = 'flush';

/**
 * How long a flush worker may be silent about entries it took before another worker takes them over. A batch and its halving
 * usually take less. Taking over too early costs a repeated upsert and nothing else.
 */
const TAKEOVER_MS = 60_000;

/** The most entries one worker has in hand at once: two lanes of at most 1000 each. */
const MOST_IN_HAND = 2_000;

/**
 * How long a consumer must have been silent before it is forgotten: a day. An off-peak worker is silent between two flushes
 * for less than that, and a consumer that is forgotten too early only has to be made anew.
 */
const FORGET_CONSUMER_MS = 86_400_000;

/** KEYS pending; ARGV group idle. It looks and deletes in one step, because deleting a consumer deletes what it holds. */
const FORGET_CONSUMERS = `
if redis.call('EXISTS', KEYS[1]) == 0 then return end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local about = {}
  for i = 1, #consumer, 2 do about[consumer[i]] = consumer[i + 1] end
  if about.pending == 0 and about.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about.name)
  end
end
`;

interface Scripts {
  mnemoqForgetConsumers(key: string, group: string, idleMs: number): Promise<unknown>;
}

/** A pending record, by reference. Its content is in the hash of its conversation. */
export interface PendingEntry {
  /** The id of its entry in the stream, `<ms>-<n>`. */
  entry: string;
  contextId: string;
  id: string;
  /** The size of the cached record as JSON. */
  bytes: number;
  /** The span of the job that remembered the record, where that job was traced. */
  traceparent?: string;
}

/**
 * The stream of records that are in Redis and not yet in Supabase. An entry leaves it only when its record is committed or
 * set aside. A worker that takes entries and fails hands them back; one that takes them and dies loses them to another worker
 * after TAKEOVER_MS.
 */
export class Pending {
  readonly #redis: RedisClient & Scripts;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    redis.defineCommand('mnemoqForgetConsumers', { lua: FORGET_CONSUMERS, numberOfKeys: 1 });
    this.#redis = redis as RedisClient & Scripts;
    this.#keys = keys;
  }

  /** Creates the consumer group of every part. A group that exists is left alone. */
  async prepare(): Promise<void> {
    for (const shard of this.#keys.shards) {
      await this.#redis
        .xgroup('CREATE', this.#keys.pending(shard), PENDING_GROUP, '0', 'MKSTREAM')
        .catch((error: Error) => {
          if (!error.message.startsWith('BUSYGROUP')) throw error;
        });
    }
  }

  /**
   * Takes up to `count` entries for `consumer`, first those whose taker has gone silent or has handed them back. A Redis that
   * has lost its data has no group either. Then the group is created, and the taking goes on.
   */
  async take(shard: string, consumer: string, count: number): Promise<PendingEntry[]> {
    try {
      return await this.#take(shard, consumer, count);
    } catch (error) {
      if (!messageOf(error).startsWith('NOGROUP')) throw error;
      await this.prepare();
      return this.#take(shard, consumer, count);
    }
  }

  async #take(shard: string, consumer: string, count: number): Promise<PendingEntry[]> {
    const key = this.#keys.pending(shard);
    const claimed = await this.#redis.xautoclaim(key, PENDING_GROUP, consumer, TAKEOVER_MS, '0', 'COUNT', count);
    const returned = toEntries(claimed[1] as TakenEntry[]);
    if (returned.length > 0) return returned;
    const read = await this.#redis.xreadgroup('GROUP', PENDING_GROUP, consumer, 'COUNT', count, 'STREAMS', key, '>');
    return toEntries(read?.[0]?.[1] ?? []);
  }

  /** Hands entries back: the next worker that takes entries gets them, without waiting for TAKEOVER_MS. */
  async release(shard: string, consumer: string, entries: readonly Pick<PendingEntry, 'entry'>[]): Promise<void> {
    if (entries.length === 0) return;
    const ids = entries.map(({ entry }) => entry);
    const key = this.#keys.pending(shard);
    await this.#redis.call('XCLAIM', key, PENDING_GROUP, consumer, 0, ...ids, 'IDLE', TAKEOVER_MS, 'JUSTID');
  }

  /** Hands back everything that `consumer` has in hand, in every part. */
  async releaseAll(consumer: string): Promise<void> {
    for (const shard of this.#keys.shards) {
      const held = await this.#redis.xpending(
        this.#keys.pending(shard),
        PENDING_GROUP,
        '-',
        '+',
        MOST_IN_HAND,
        consumer,
      );
      const entries = (held as [entry: string, ...unknown[]][]).map(([entry]) => ({ entry }));
      await this.release(shard, consumer, entries);
    }
  }

  /** Forgets consumers that hold nothing and were last seen long ago, because every start of a worker leaves one behind. */
  async forgetConsumers(idleMs = FORGET_CONSUMER_MS): Promise<void> {
    for (const shard of this.#keys.shards) {
      await this.#redis.mnemoqForgetConsumers(this.#keys.pending(shard), PENDING_GROUP, idleMs);
    }
  }

  /** How many entries up to `last` some worker has taken and not finished. 0 where there never was a flush worker. */
  async inHand(shard: string, last: string): Promise<number> {
    try {
      return (await this.#redis.xpending(this.#keys.pending(shard), PENDING_GROUP, '-', last, MOST_IN_HAND)).length;
    } catch (error) {
      if (!messageOf(error).startsWith('NOGROUP')) throw error;
      return 0;
    }
  }

  /**
   * Whether some entry has a record that is not pending any more. Such a record was erased, and a flush may still have it in
   * hand or has yet to drop the entry.
   */
  async hasErased(): Promise<boolean> {
    for (const shard of this.#keys.shards) {
      for (let from = '-'; from !== '';) {
        const raw = await this.#redis.xrange(this.#keys.pending(shard), from, '+', 'COUNT', MOST_IN_HAND);
        const entries = toEntries(raw);
        const ids = entries.map(({ id }) => id);
        const known = ids.length === 0 ? [] : await this.#redis.hmget(this.#keys.pendingIndex(shard), ...ids);
        if (known.includes(null) && (await this.#isStillThere(shard, entries, known))) return true;
        from = raw.length < MOST_IN_HAND ? '' : `(${raw.at(-1)?.[0]}`;
      }
    }
    return false;
  }

  /** Looks a second time: a record that was acknowledged between the two looks is gone from the stream as well by now. */
  async #isStillThere(
    shard: string,
    entries: readonly PendingEntry[],
    known: readonly (string | null)[],
  ): Promise<boolean> {
    for (const [i, { entry }] of entries.entries()) {
      if (known[i] !== null) continue;
      const [still] = await this.#redis.xrange(this.#keys.pending(shard), entry, entry);
      if (still) return true;
    }
    return false;
  }

  /** The newest entry, null when the stream is empty. */
  async last(shard: string): Promise<string | null> {
    const [newest] = await this.#redis.xrevrange(this.#keys.pending(shard), '+', '-', 'COUNT', 1);
    return newest?.[0] ?? null;
  }

  /** The newest entries of every part, about `count` in all, the newest of each part first. */
  async newest(count: number): Promise<PendingEntry[]> {
    const each = Math.ceil(count / this.#keys.shards.length);
    const raw = await Promise.all(
      this.#keys.shards.map((shard) => this.#redis.xrevrange(this.#keys.pending(shard), '+', '-', 'COUNT', each)),
    );
    return toEntries(raw.flat());
  }

  /** Where a pending record is; null when it is not pending. */
  async locate(id: string): Promise<{ contextId: string; entry: string } | null> {
    for (const shard of this.#keys.shards) {
      const found = await this.#redis.hget(this.#keys.pendingIndex(shard), id);
      const [, entry, contextId] = /^(\S+) (.*)$/s.exec(found ?? '') ?? [];
      if (entry !== undefined && contextId !== undefined) return { contextId, entry };
    }
    return null;
  }

  async length(): Promise<number> {
    const lengths = await Promise.all(this.#keys.shards.map((shard) => this.#redis.xlen(this.#keys.pending(shard))));
    return lengths.reduce((sum, length) => sum + length, 0);
  }

  /** How long the oldest pending record has waited, in ms, since its arrival by the clock of Redis; null when none is pending. */
  async oldestAgeMs(now = Date.now()): Promise<number | null> {
    const oldest = await Promise.all(
      this.#keys.shards.map((shard) => this.#redis.xrange(this.#keys.pending(shard), '-', '+', 'COUNT', 1)),
    );
    const arrivals = oldest.flatMap(([first]) => (first ? [addedAt(first[0])] : []));
    return arrivals.length === 0 ? null : Math.max(0, now - Math.min(...arrivals));
  }

  get shards(): readonly string[] {
    return this.#keys.shards;
  }
}

/** What Redis hands over has null for fields where an entry was deleted since it was taken. */
type TakenEntry = [entry: string, fields: string[] | null];

function toEntries(raw: readonly TakenEntry[]): PendingEntry[] {
  return raw.flatMap(([entry, fields]) => {
    if (!fields) return [];
    const { contextId, id, bytes, traceparent } = fieldsOf([entry, fields]);
    if (contextId === undefined || id === undefined) {
      throw new MnemoqError('invalid_input', `entry ${entry} of the pending stream was not written by Mnemoq`);
    }
    return [{ entry, contextId, id, bytes: Number(bytes), ...(traceparent !== undefined && { traceparent }) }];
  });
}
