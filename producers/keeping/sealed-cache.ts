import type { Queue } from 'bullmq';
import type { Keys } from '../../shared/short-term/keys.ts';
import { fromCached, toCached } from '../../shared/records/records.ts';
import { quarantineJob, type QuarantineJob } from '../../shared/records/jobs.ts';
import type { RedisClient } from '../../shared/redis/connection.ts';
import { scanKeys } from '../../shared/redis/nodes.ts';
import { jobIds } from '../parts/job-ids.ts';
import type { Sealable, SealedRow } from '../../shared/long-term/sealed-rows.ts';

/** Keys, fields and jobs to look at in one step. */
const AT_ONCE = 100;

/** KEYS hash; ARGV field, before, after. Returns 1 when the field still was `before` and now is `after`, else 0. */
const EXCHANGE = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`;

interface Scripts {
  mnemoqExchange(hash: string, field: string, before: string, after: string): Promise<number>;
}

/** A record in Redis. `exchange` replaces what is sealed in it, and gives false when the record is gone or was changed. */
export interface CachedRow extends SealedRow {
  exchange: (after: Sealable) => Promise<boolean>;
}

/** What is sealed in Redis: cached records, which Supabase may not have yet, and rows in quarantine. */
export class SealedCache {
  readonly #redis: RedisClient & Scripts;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    redis.defineCommand('mnemoqExchange', { lua: EXCHANGE, numberOfKeys: 1 });
    this.#redis = redis as RedisClient & Scripts;
    this.#keys = keys;
  }

  /** Calls off every refill under way: it may have read from Supabase what is sealed with another key by now. */
  async callOffRefills(): Promise<void> {
    for await (const keys of scanKeys(this.#redis, this.#keys.refills, AT_ONCE)) {
      await Promise.all(keys.map((key) => this.#redis.del(key)));
    }
  }

  async *conversations(): AsyncGenerator<CachedRow[]> {
    for await (const keys of scanKeys(this.#redis, this.#keys.conversations, AT_ONCE)) {
      for (const key of keys) yield* this.#conversation(key);
    }
  }

  async *#conversation(key: string): AsyncGenerator<CachedRow[]> {
    const contextId = this.#keys.contextIdOf(key);
    for (let cursor: string | null = '0'; cursor !== null;) {
      const [next, fields]: [string, string[]] = await this.#redis.hscan(key, cursor, 'COUNT', AT_ONCE);
      const rows: CachedRow[] = [];
      for (let i = 0; i < fields.length; i += 2) {
        const [id = '', json = ''] = fields.slice(i, i + 2);
        if (id !== 'floor') rows.push(this.#cachedRow(key, contextId, json));
      }
      yield rows;
      cursor = next === '0' ? null : next;
    }
  }

  #cachedRow(key: string, contextId: string, json: string): CachedRow {
    const record = fromCached(contextId, json);
    const { id, tokens, textCache } = record;
    const exchange = async (after: Sealable) =>
      (await this.#redis.mnemoqExchange(key, id, json, toCached({ ...record, ...after }))) === 1;
    return { id, tokens, textCache, exchange };
  }

  async *quarantined(queue: Queue): AsyncGenerator<CachedRow[]> {
    for await (const ids of jobIds(queue, AT_ONCE)) {
      const rows = await Promise.all(ids.map((id) => this.#quarantinedRow(queue.toKey(id))));
      yield rows.filter((row) => row !== null);
    }
  }

  /** Null for a job that is gone or malformed. Anybody can add a malformed job, and its row is never committed. */
  async #quarantinedRow(key: string): Promise<CachedRow | null> {
    const json = await this.#redis.hget(key, 'data');
    const data = parse(json);
    if (json === null || !data) return null;
    const { id, tokens, text_cache: textCache } = data.row;
    const exchange = async (after: Sealable) => {
      const row = { ...data.row, tokens: after.tokens, text_cache: after.textCache };
      return (await this.#redis.mnemoqExchange(key, 'data', json, JSON.stringify({ ...data, row }))) === 1;
    };
    return { id, tokens, textCache, exchange };
  }
}

function parse(json: string | null): QuarantineJob | null {
  try {
    return quarantineJob.safeParse(JSON.parse(json ?? 'null')).data ?? null;
  } catch {
    return null;
  }
}
