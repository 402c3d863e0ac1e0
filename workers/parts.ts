import { Queue } from 'bullmq';
import { isClusterUrl } from '../shared/cluster-url.ts';
import type { ConfigWith, STORE_SETTINGS } from '../shared/config.ts';
import { Keyring } from '../shared/encryption.ts';
import { messageOf } from '../shared/errors.ts';
import { Keys } from '../shared/keys.ts';
import type { Logger } from '../shared/log.ts';
import { LongTerm } from '../shared/long-term.ts';
import { Metrics } from '../shared/metrics.ts';
import { Pending } from '../shared/pending.ts';
import type { QueueName } from '../shared/queues.ts';
import { connectWorkerRedis, type RedisClient } from '../shared/redis.ts';
import { ShortTerm } from '../shared/short-term.ts';

export type WorkerConfig = ConfigWith<(typeof STORE_SETTINGS)[number]>;

/** What every worker works with. */
export interface Parts {
  config: WorkerConfig;
  logger: Logger;
  metrics: Metrics;
  redis: RedisClient;
  keys: Keys;
  shortTerm: ShortTerm;
  pending: Pending;
  longTerm: LongTerm;
  keyring: Keyring | null;
  /** Queues this worker puts jobs into. */
  queue: (name: QueueName) => Queue;
  close(): Promise<void>;
}

export function connectParts(config: WorkerConfig, logger: Logger): Parts {
  const redis = connectWorkerRedis(config.redisUrl, logger);
  const keys = new Keys(isClusterUrl(config.redisUrl));
  const queues = new Map<QueueName, Queue>();
  return {
    config,
    logger,
    metrics: new Metrics(),
    redis,
    keys,
    shortTerm: new ShortTerm(redis, keys, { limit: config.shortTermLimit, ttlSeconds: config.redisTtlSeconds }),
    pending: new Pending(redis, keys),
    longTerm: new LongTerm(config),
    keyring: config.encryptionKeys ? new Keyring(config.encryptionKeys) : null,
    queue(name) {
      const known = queues.get(name);
      if (known) return known;
      const queue = new Queue(name, {
        connection: redis,
        prefix: keys.queuePrefix,
      });
      queue.on('error', (error) => logger.debug({ queue: name, reason: messageOf(error) }, 'queue error'));
      queues.set(name, queue);
      return queue;
    },
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
      redis.disconnect();
    },
  };
}
