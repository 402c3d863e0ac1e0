import { isClusterUrl } from '../shared/cluster-url.ts';
import { type ConfigWith, type Environment, loadConfig, STORE_SETTINGS } from '../shared/config.ts';
import { Keyring } from '../shared/encryption.ts';
import { Erasures } from '../shared/erasures.ts';
import { EventFeed } from '../shared/events.ts';
import { Keys } from '../shared/keys.ts';
import { createLogger } from '../shared/log.ts';
import { LongTerm } from '../shared/long-term.ts';
import { Metrics } from '../shared/metrics.ts';
import { Pending } from '../shared/pending.ts';
import { connectProducerRedis, connectWorkerRedis, type RedisClient } from '../shared/redis.ts';
import { ShortTerm } from '../shared/short-term.ts';
import { exposeState } from '../shared/state-metrics.ts';
import { Admission } from './admission.ts';
import { ContextReader } from './context-reader.ts';
import { Submission } from './submission.ts';
import { Subscriptions } from './subscriptions.ts';

/** What the calls of MemoryCore work with. */
export interface Parts {
  config: ConfigWith<(typeof STORE_SETTINGS)[number]>;
  metrics: Metrics;
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
  events: EventFeed;
  subscriptions: Subscriptions;
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
  const metrics = new Metrics();
  const pending = new Pending(redis, keys);
  const submission = new Submission(redis, connectEvents, keys, config.redisTimeoutMs, metrics);
  const events = new EventFeed(redis, keys);
  exposeState(metrics, { config, redis, pending, queue: (name) => submission.queue(name) });
  return {
    config,
    metrics,
    redis,
    keys,
    shortTerm,
    pending,
    longTerm,
    reader: new ContextReader(shortTerm, longTerm, metrics),
    keyring: config.encryptionKeys ? new Keyring(config.encryptionKeys) : null,
    submission,
    admission: new Admission(redis, config.redisMaxUsedPercent),
    erasures: new Erasures(redis, keys),
    events,
    subscriptions: new Subscriptions(events, logger),
  };
}
