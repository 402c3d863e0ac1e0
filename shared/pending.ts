import { MnemoqError } from './errors.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from './redis.ts';

/** The consumer group all flush workers share, so that each entry goes to one of them. */
export const PENDING_GROUP = 'flush';

/**
 * How long a flush worker may be silent about entries it took before another takes them over. Longer than a batch and
 * its halving usually last; taking over too early costs a repeated upsert and nothing else.
 */
const TAKEOVER_MS = 60_000;

/** A pending record, by reference: its content is in its conversation's hash. */
export interface PendingEntry {
  /** Its entry in the stream, `<ms>-<n>`. */
  entry: string;
  contextId: string;
  id: string;
  /** Size of the cached record's JSON. */
  bytes: number;
}

/**
 * The stream of records that are in Redis and not yet in Supabase. An entry leaves it only when its record is committed
 * or set aside; who takes entries and fails hands them back, who takes them and dies loses them after TAKEOVER_MS.
 */
export class Pending {
  readonly #redis: RedisClient;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Creates the consumer group of every part; an existing one is left alone. */
  async prepare(): Promise<void> {
    for (const shard of this.#keys.shards) {
      await this.#redis
        .xgroup('CREATE', this.#keys.pending(shard), PENDING_GROUP, '0', 'MKSTREAM')
        .catch((error: Error) => {
          if (!error.message.startsWith('BUSYGROUP')) throw error;
        });
    }
  }

  /** Takes up to `count` entries for `consumer`: first those whose taker has gone silent or handed them back. */
  async take(shard: string, consumer: string, count: number): Promise<PendingEntry[]> {
    const key = this.#keys.pending(shard);
    const claimed = await this.#redis.xautoclaim(key, PENDING_GROUP, consumer, TAKEOVER_MS, '0', 'COUNT', count);
    const returned = toEntries(claimed[1] as StreamEntry[]);
    if (returned.length > 0) return returned;
    const read = await this.#redis.xreadgroup('GROUP', PENDING_GROUP, consumer, 'COUNT', count, 'STREAMS', key, '>');
    return toEntries(read?.[0]?.[1] ?? []);
  }

  /** Hands entries back: whoever takes next gets them, without waiting for TAKEOVER_MS. */
  async release(shard: string, consumer: string, entries: readonly PendingEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const ids = entries.map(({ entry }) => entry);
    const key = this.#keys.pending(shard);
    await this.#redis.call('XCLAIM', key, PENDING_GROUP, consumer, 0, ...ids, 'IDLE', TAKEOVER_MS, 'JUSTID');
  }

  /** How many entries up to `last` some worker has taken and not finished. */
  async inHand(shard: string, last: string): Promise<number> {
    const held = await this.#redis.xpending(this.#keys.pending(shard), PENDING_GROUP, '-', last, 1000);
    return held.length;
  }

  /** The newest entry, null when the stream is empty. */
  async last(shard: string): Promise<string | null> {
    const [newest] = await this.#redis.xrevrange(this.#keys.pending(shard), '+', '-', 'COUNT', 1);
    return newest?.[0] ?? null;
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

  /** How long the oldest pending record has waited, in ms; null when nothing is pending. By Redis's clock at arrival. */
  async oldestAgeMs(now = Date.now()): Promise<number | null> {
    const oldest = await Promise.all(
      this.#keys.shards.map((shard) => this.#redis.xrange(this.#keys.pending(shard), '-', '+', 'COUNT', 1)),
    );
    const arrivals = oldest.flatMap(([first]) => (first ? [Number.parseInt(first[0], 10)] : []));
    return arrivals.length === 0 ? null : Math.max(0, now - Math.min(...arrivals));
  }

  get shards(): readonly string[] {
    return this.#keys.shards;
  }
}

type StreamEntry = [entry: string, fields: string[] | null];

function toEntries(raw: readonly StreamEntry[]): PendingEntry[] {
  return raw.flatMap(([entry, fields]) => {
    if (!fields) return []; // deleted since it was taken
    const { contextId, id, bytes } = Object.fromEntries(pairs(fields));
    if (contextId === undefined || id === undefined) {
      throw new MnemoqError('invalid_input', `entry ${entry} of the pending stream was not written by Mnemoq`);
    }
    return [{ entry, contextId, id, bytes: Number(bytes) }];
  });
}

function pairs(fields: readonly string[]): [string, string][] {
  return Array.from({ length: fields.length / 2 }, (_, i) => [fields[2 * i] ?? '', fields[2 * i + 1] ?? '']);
}
