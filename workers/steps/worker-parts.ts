import { connectProcess, type ProcessParts } from '../../shared/process/process-parts.ts';
import { connectWorkerRedis } from '../../shared/redis/connection.ts';
import type { Logger } from '../../shared/telemetry/log.ts';
import type { StoreConfig } from '../../shared/tiers/stores.ts';

/** What every worker works with. */
export interface WorkerParts extends ProcessParts {
  close(): Promise<void>;
}

export function connectWorker(config: StoreConfig, logger: Logger): WorkerParts {
  const redis = connectWorkerRedis(config.redisUrl, logger);
  const parts = connectProcess(config, redis, logger);
  return {
    ...parts,
    async close() {
      await parts.closeQueues();
      redis.disconnect();
    },
  };
}
