import { MnemoqError } from '../../shared/errors.ts';
import type { RedisClient } from '../../shared/redis/connection.ts';
import { readMemory, type RedisMemory, usedPercent } from '../../shared/redis/memory.ts';

/** How long an answer of Redis about its memory is used. */
const FRESH_MS = 1_000;

/**
 * Refuses saves while Redis is nearly full. A Redis at its limit refuses every write, also those of the flush, and then
 * nothing could make room. So producers stop before Redis is full.
 */
export class Admission {
  readonly #redis: RedisClient;
  readonly #maxUsedPercent: number;
  #checked: { at: number; memory: Promise<RedisMemory> } | null = null;

  constructor(redis: RedisClient, maxUsedPercent: number) {
    this.#redis = redis;
    this.#maxUsedPercent = maxUsedPercent;
  }

  /** Throws `redis_full` while more of Redis's memory is used than MEMORY_REDIS_MAX_USED_PERCENT allows. */
  async admit(): Promise<void> {
    if (!this.#checked || Date.now() - this.#checked.at > FRESH_MS) {
      this.#checked = { at: Date.now(), memory: readMemory(this.#redis) };
    }
    const memory = await this.#checked.memory;
    const percent = usedPercent(memory);
    if (percent <= this.#maxUsedPercent) return;
    throw new MnemoqError(
      'redis_full',
      `Redis is nearly full (${percent.toFixed(1)} % of ${memory.maxBytes} bytes used, saves stop at ${this.#maxUsedPercent} %): ` +
        'nothing was stored; try again when a flush has made room, or raise maxmemory',
    );
  }
}
