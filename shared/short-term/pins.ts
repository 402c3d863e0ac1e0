import type { PinnedModule, Visibility } from '../records/records.ts';
import type { RedisClient } from '../redis/connection.ts';
import { eventsKept, pinnedEvent } from './events.ts';
import type { Keys } from './keys.ts';

/** The summary behind `memory:reflection:<id>`. */
export interface PinnedReflection {
  id: string;
  contextId: string;
  /** Undefined in a summary that an earlier release has written. */
  userId?: string | null;
  module?: PinnedModule;
  cid: string;
  sha256: string;
  signature: string;
  visibility: Visibility;
  createdAt: string;
  pinnedAt: string;
}

/** The summaries of pinned reflections, each for as long as a conversation without new records stays. */
export class Pins {
  readonly #redis: RedisClient;
  readonly #keys: Keys;
  readonly #ttlMs: number;

  constructor(redis: RedisClient, keys: Keys, { ttlSeconds }: { ttlSeconds: number }) {
    this.#redis = redis;
    this.#keys = keys;
    this.#ttlMs = ttlSeconds * 1000;
  }

  /**
   * Keeps the summary of a pinned reflection at hand. Those who listen are told first, because the two keys need not be on
   * one node of a cluster: a crash in between tells them twice, and never not at all.
   */
  async remember(pin: PinnedReflection): Promise<void> {
    const known = await this.find(pin.id);
    if (known?.cid !== pin.cid) {
      const key = this.#keys.events(this.#keys.shardOf(pin.contextId));
      const data = JSON.stringify(pinnedEvent(pin));
      await this.#redis.xadd(key, 'MAXLEN', '~', eventsKept(this.#keys), '*', 'type', 'record.pinned', 'data', data);
    }
    await this.#redis.set(this.#keys.reflection(pin.id), JSON.stringify(pin), 'PX', this.#ttlMs);
  }

  async find(id: string): Promise<PinnedReflection | null> {
    const json = await this.#redis.get(this.#keys.reflection(id));
    return json === null ? null : JSON.parse(json);
  }

  async forget(ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.#redis.del(this.#keys.reflection(id))));
  }
}
