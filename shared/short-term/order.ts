import { fromMicroseconds } from '../moments.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from '../redis/connection.ts';

/**
 * How far the last time that was given may be ahead of Redis's clock, in microseconds: one hour. Beyond that the clock was
 * wrong when it was given, and times follow the clock again. Otherwise a clock that was once a year ahead would date records a
 * year ahead for a year.
 */
const MOST_AHEAD = 3_600_000_000;

/**
 * KEYS order; ARGV count, most ahead. Takes `count` microseconds that follow one another and all times taken before, and
 * returns the first of them. It is sent with its text each time: if Redis had to be sent the text after it has refused the
 * digest alone, a later call could come first.
 */
const TAKE = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
local first = now
if last >= now and last - now <= tonumber(ARGV[2]) then first = last + 1 end
redis.call('SET', KEYS[1], string.format('%.0f', first + ARGV[1] - 1))
return string.format('%.0f', first)
`;

/** A job whose record may still lack its time. */
export type Undated<Job extends { createdAt: string }> = Omit<Job, 'createdAt'> & { createdAt?: string | undefined };

/**
 * Gives records without a time of their own one that says in which order they were saved, whatever their ids are and whatever
 * clocks their producers have.
 *
 * The promise: of two records of one conversation that were saved without `createdAt`, the one whose save was called first in
 * one process is read first. The same holds for two processes if the first save had been answered before the second was
 * called. Redis keeps the order: it gives each record a microsecond of its own clock that is later than all it has given
 * before. What Redis loses with its data, such as after a failover to a replica that was behind, is made up by its clock.
 */
export class Order {
  readonly #redis: RedisClient;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * The same records, each with its time. The commands go out before this gives anything back, so what is called first gets
   * the earlier time: a connection keeps the order of its commands.
   */
  async date<T extends Undated<{ contextId: string; createdAt: string }>>(
    records: readonly T[],
  ): Promise<(T & { createdAt: string })[]> {
    const undated = records.filter(({ createdAt }) => createdAt === undefined);
    const times = new Map<T, string>();
    await Promise.all(
      [...Map.groupBy(undated, ({ contextId }) => this.#keys.shardOf(contextId))].map(async ([shard, its]) => {
        const first = Number(await this.#redis.eval(TAKE, 1, this.#keys.lastTime(shard), its.length, MOST_AHEAD));
        for (const [index, record] of its.entries()) times.set(record, fromMicroseconds(first + index));
      }),
    );
    return records.map((record) => ({ ...record, createdAt: record.createdAt ?? times.get(record) ?? '' }));
  }
}
