/**
 * **producers/parts/**: what all calls work with: connections, queues, limits, events. No call stands here.
 */
import { type Environment, loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { EventFeed } from '../../shared/short-term/events.ts';
import { createLogger, type Logger } from '../../shared/telemetry/log.ts';
import { Metrics } from '../../shared/telemetry/metrics.ts';
import { connectProducerRedis, connectWorkerRedis } from '../../shared/short-term/redis.ts';
import { exposeState } from '../../shared/process/state-metrics.ts';
import { createStores, type Stores } from '../../shared/tiers/stores.ts';
import { Admission } from './admission.ts';
import { ContextReader } from '../../shared/tiers/context-reader.ts';
import { Submission } from './submission.ts';
import { Subscriptions } from './subscriptions.ts';

/** What the calls of MemoryCore work with. */
export interface Parts extends Stores {
  metrics: Metrics;
  logger: Logger;
  reader: ContextReader;
  submission: Submission;
  admission: Admission;
  events: EventFeed;
  subscriptions: Subscriptions;
}

/** Throws `invalid_configuration` naming what is missing or wrong. */
export function connectParts(environment: Environment): Parts {
  // Without keys nobody could tell here what must be encrypted from what is.
  const config = loadConfig(environment, ({ encryptTokens }) => [
    ...STORE_SETTINGS,
    ...(encryptTokens ? (['encryptionKeys'] as const) : []),
  ]);
  const logger = createLogger(config.logLevel, 'mnemoq');
  const redis = connectProducerRedis(config.redisUrl, logger, config.redisTimeoutMs);
  const stores = createStores(config, redis);
  const { keys, shortTerm, pending, longTerm } = stores;
  const connectEvents = () => connectWorkerRedis(config.redisUrl, logger);
  const metrics = new Metrics();
  const submission = new Submission(redis, connectEvents, keys, config.redisTimeoutMs, metrics);
  const events = new EventFeed(redis, keys);
  exposeState(metrics, { config, redis, pending, queue: (name) => submission.queue(name) });
  return {
    ...stores,
    metrics,
    logger,
    reader: new ContextReader(shortTerm, longTerm.memories, metrics),
    submission,
    admission: new Admission(redis, config.redisMaxUsedPercent),
    events,
    subscriptions: new Subscriptions(events, logger),
  };
}
