/**
 * **producers/parts/**: what calls work with: connections, queues, limits, events, pages. No call belongs here.
 */
import { connectProcess, type ProcessParts } from '../../shared/process/process-parts.ts';
import { exposeState } from '../../shared/process/state-metrics.ts';
import { type Environment, loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { EventFeed } from '../../shared/short-term/event-feed.ts';
import { connectProducerRedis, connectWorkerRedis } from '../../shared/redis/connection.ts';
import { withinTime } from '../../shared/redis/within-time.ts';
import { createLogger } from '../../shared/telemetry/log.ts';
import { ContextReader } from '../../shared/tiers/context-reader.ts';
import { Admission } from './admission.ts';
import { Submission } from './submission.ts';
import { Subscriptions } from './subscriptions.ts';

/** What the calls of MemoryCore work with. */
export interface CallParts extends ProcessParts {
  reader: ContextReader;
  submission: Submission;
  admission: Admission;
  events: EventFeed;
  subscriptions: Subscriptions;
  /** Lets go of all connections. */
  close(): Promise<void>;
}

/** Connects everything. Throws `invalid_configuration`, which names every setting that is missing or wrong. */
export function connectCalls(environment: Environment): CallParts {
  // Without the keys this process could not tell what must be encrypted from what already is.
  const config = loadConfig(environment, ({ encryptTokens }) => [
    ...STORE_SETTINGS,
    ...(encryptTokens ? (['encryptionKeys'] as const) : []),
  ]);
  const { redisUrl, redisTimeoutMs } = config;
  const logger = createLogger(config.logLevel, 'mnemoq');
  const redis = connectProducerRedis(redisUrl, logger, redisTimeoutMs);
  const parts = connectProcess(config, redis, logger);
  const { keys, shortTerm, longTerm, metrics } = parts;
  const submission = new Submission(parts, () => connectWorkerRedis(redisUrl, logger));
  const events = new EventFeed(redis, keys);
  exposeState(metrics, parts);
  return {
    ...parts,
    reader: new ContextReader(shortTerm, longTerm.memories, metrics),
    submission,
    admission: new Admission(redis, config.redisMaxUsedPercent),
    events,
    subscriptions: new Subscriptions(events, logger),
    async close() {
      const queuesClosed = withinTime(parts.closeQueues(), redisTimeoutMs, 'closing').catch(() => undefined);
      await Promise.all([submission.close(), queuesClosed]);
      redis.disconnect();
    },
  };
}
