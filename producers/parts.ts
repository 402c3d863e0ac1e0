import { isClusterUrl } from '../shared/cluster-url.ts';
import { type ConfigWith, type Environment, loadConfig, STORE_SETTINGS } from '../shared/config.ts';
import { Keyring } from '../shared/encryption.ts';
import { Erasures } from '../shared/erasures.ts';
import { Keys } from '../shared/keys.ts';
import { createLogger } from '../shared/log.ts';
import { LongTerm } from '../shared/long-term.ts';
import { Pending } from '../shared/pending.ts';
import { connectProducerRedis, connectWorkerRedis, type RedisClient } from '../shared/redis.ts';
import { ShortTerm } from '../shared/short-term.ts';
import { Admission } from './admission.ts';
import { ContextReader } from './context-reader.ts';
import { Submission } from './submission.ts';

/** What the calls of MemoryCore work with. */
export interface Parts {
  config: ConfigWith<(typeof STORE_SETTINGS)[number]>;
  redis: RedisClient;
  keys: Keys;
  shortTerm: ShortTerm;
  pending: Pending;
  longTerm: LongTerm;
  reader: ContextReader;
  keyring: Keyring | null;
  submission: Submission;
  admission: Admission;
  erasures: Erasures;
}

/** Throws `invalid_configuration` naming what is missing or wrong. */
export function connectParts(environment: Environment): Parts {
  const config = loadConfig(environment, STORE_SETTINGS);
  const logger = createLogger(config.logLevel, 'mnemoq');
  const keys = new Keys(isClusterUrl(config.redisUrl));
  const redis = connectProducerRedis(config.redisUrl, logger, config.redisTimeoutMs);
  const shortTerm = new ShortTerm(redis, keys, { limit: config.shortTermLimit, ttlSeconds: config.redisTtlSeconds });
  const longTerm = new LongTerm(config);
  const connectEvents = () => connectWorkerRedis(config.redisUrl, logger);
  return {
    config,
    redis,
    keys,
    shortTerm,
    pending: new Pending(redis, keys),
    longTerm,
    reader: new ContextReader(shortTerm, longTerm),
    keyring: config.encryptionKeys ? new Keyring(config.encryptionKeys) : null,
    submission: new Submission(redis, connectEvents, keys, config.redisTimeoutMs),
    admission: new Admission(redis, config.redisMaxUsedPercent),
    erasures: new Erasures(redis, keys),
  };
}
