import { Queue } from 'bullmq';
import { messageOf } from '../errors.ts';
import type { QueueName } from '../queues.ts';
import type { RedisClient } from '../redis/connection.ts';
import type { Logger } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { queueTelemetry } from '../telemetry/tracing.ts';
import { createStores, type StoreConfig, type Stores } from '../tiers/stores.ts';

/** What every process of Mnemoq works with, whether it saves and reads or takes jobs. */
export interface ProcessParts extends Stores {
  logger: Logger;
  metrics: Metrics;
  /** A queue to put jobs into and to look at. It is opened when it is first asked for. */
  queue: (name: QueueName) => Queue;
  /** Closes the queues that were opened. BullMQ waits here without end while Redis is away. */
  closeQueues: () => Promise<void>;
}

/** Works over a connection of the caller's own kind: a worker waits for Redis as long as it takes, a call gives up. */
export function connectProcess(config: StoreConfig, redis: RedisClient, logger: Logger): ProcessParts {
  const stores = createStores(config, redis);
  const queues = new Map<QueueName, Queue>();
  const open = (name: QueueName) => {
    const queue = new Queue(name, {
      connection: redis,
      prefix: stores.keys.queuePrefix,
      // A BullMQ worker checks the version of Redis. Here the check would be one more answer that can fail to come.
      skipVersionCheck: true,
      ...queueTelemetry(),
    });
    // The connection logs its own outages.
    queue.on('error', (error) => logger.debug({ queue: name, reason: messageOf(error) }, 'queue error'));
    // A queue that meets no Redis when it is made stays broken, so the next caller makes another one.
    queue.waitUntilReady().catch(() => queues.delete(name));
    queues.set(name, queue);
    return queue;
  };
  return {
    ...stores,
    logger,
    metrics: new Metrics(),
    queue: (name) => queues.get(name) ?? open(name),
    async closeQueues() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}
