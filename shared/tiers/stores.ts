/**
 * **shared/tiers/**: Redis and Supabase taken together: what opens both, how a read of Redis is filled up from Supabase, how a
 * new record is prepared for both.
 */
import { isClusterUrl } from '../settings/cluster-url.ts';
import type { ConfigWith, STORE_SETTINGS } from '../settings/config.ts';
import { Keyring } from '../secrets/keyring.ts';
import { Erasures } from '../short-term/erasures.ts';
import { Keys } from '../short-term/keys.ts';
import { connectLongTerm, type LongTerm } from '../long-term/long-term.ts';
import { Pins } from '../short-term/pins.ts';
import { Order } from '../short-term/order.ts';
import { Pending } from '../short-term/pending.ts';
import type { RedisClient } from '../redis/connection.ts';
import { ReflectorState } from '../short-term/reflector-state.ts';
import { ShortTerm } from '../short-term/short-term.ts';

export type StoreConfig = ConfigWith<(typeof STORE_SETTINGS)[number]>;

/** The tiers that a record may be in, and what opens and guards them. Workers have the same as those who save and read. */
export interface Stores {
  config: StoreConfig;
  redis: RedisClient;
  keys: Keys;
  shortTerm: ShortTerm;
  pins: Pins;
  pending: Pending;
  longTerm: LongTerm;
  keyring: Keyring | null;
  erasures: Erasures;
  order: Order;
  reflectorState: ReflectorState;
}

/** Opens the tiers over a connection of the caller's own kind: one kind waits for Redis, the other gives up. */
export function createStores(config: StoreConfig, redis: RedisClient): Stores {
  const keys = new Keys(isClusterUrl(config.redisUrl));
  return {
    config,
    redis,
    keys,
    shortTerm: new ShortTerm(redis, keys, {
      limit: config.shortTermLimit,
      ttlSeconds: config.redisTtlSeconds,
      countsTurns: config.reflectorEveryTurns > 0 || config.reflectorIdleMs > 0,
    }),
    pins: new Pins(redis, keys, { ttlSeconds: config.redisTtlSeconds }),
    pending: new Pending(redis, keys),
    longTerm: connectLongTerm(config),
    keyring: config.encryptionKeys
      ? new Keyring(config.encryptionKeys, { refusePlain: config.encryptTokens && !config.allowPlainRows })
      : null,
    erasures: new Erasures(redis, keys),
    order: new Order(redis, keys),
    reflectorState: new ReflectorState(redis, keys),
  };
}
