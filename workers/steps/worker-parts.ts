import { Queue } from 'bullmq';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/telemetry/log.ts';
import { Metrics } from '../../shared/telemetry/metrics.ts';
import type { QueueName } from '../../shared/queues.ts';
import { connectWorkerRedis } from '../../shared/short-term/redis.ts';
import { createStores, type StoreConfig, type Stores } from '../../shared/tiers/stores.ts';
import { queueTelemetry } from '../../shared/telemetry/tracing.ts';

/** What every worker works with. */
export interface Parts extends Stores {
  logger: Logger;
  metrics: Metrics;
  /** Queues this worker puts jobs into. */
  queue: (name: QueueName) => Queue;
  close(): Promise<void>;
}

export function connectParts(config: StoreConfig, logger: Logger): Parts {
  const redis = connectWorkerRedis(config.redisUrl, logger);
  const stores = createStores(config, redis);
  const queues = new Map<QueueName, Queue>();
  return {
    ...stores,
    logger,
    metrics: new Metrics(),
    queue(name) {
      const known = queues.get(name);
      if (known) return known;
      const queue = new Queue(name, { connection: redis, prefix: stores.keys.queuePrefix, ...queueTelemetry() });
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
