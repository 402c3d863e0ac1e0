import { isClusterUrl } from './cluster-url.ts';
import type { ConfigWith, STORE_SETTINGS } from './config.ts';
import { Keyring } from './encryption.ts';
import { Erasures } from './erasures.ts';
import { Keys } from './keys.ts';
import { LongTerm } from './long-term.ts';
import { Pending } from './pending.ts';
import type { RedisClient } from './redis.ts';
import { ReflectorState } from './reflector-state.ts';
import { ShortTerm } from './short-term.ts';

export type StoreConfig = ConfigWith<(typeof STORE_SETTINGS)[number]>;

/** The tiers a record may be in, and what opens and guards them: the same for those who save and read and for workers. */
export interface Stores {
  config: StoreConfig;
  redis: RedisClient;
  keys: Keys;
  shortTerm: ShortTerm;
  pending: Pending;
  longTerm: LongTerm;
  keyring: Keyring | null;
  erasures: Erasures;
  reflectorState: ReflectorState;
}

/** Over a connection of the caller's own kind: one waits for Redis, another gives up. */
export function createStores(config: StoreConfig, redis: RedisClient): Stores {
  const keys = new Keys(isClusterUrl(config.redisUrl));
  return {
    config,
    redis,
    keys,
    shortTerm: new ShortTerm(redis, keys, {
      limit: config.shortTermLimit,
      ttlSeconds: config.redisTtlSeconds,
      countsTurns: config.reflectEveryTurns > 0 || config.reflectIdleMs > 0,
    }),
    pending: new Pending(redis, keys),
    longTerm: new LongTerm(config),
    keyring: config.encryptionKeys
      ? new Keyring(config.encryptionKeys, { refusePlain: config.encryptTokens && !config.allowPlainRows })
      : null,
    erasures: new Erasures(redis, keys),
    reflectorState: new ReflectorState(redis, keys),
  };
}
