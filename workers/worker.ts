/**
 * **workers/**: what takes jobs from queues. This file starts a worker of any kind, `kinds.ts` says what each kind does, and
 * the folders hold the work itself. A worker knows nothing of `producers/`.
 */
import { type HealthServer, startHealthServer } from '../shared/process/health-server.ts';
import { type Environment, loadConfig, STORE_SETTINGS } from '../shared/settings/config.ts';
import { refuseEvictingRedis } from '../shared/redis/memory.ts';
import { createLogger } from '../shared/telemetry/log.ts';
import { Progress } from './health.ts';
import { KINDS, type WorkerKind } from './kinds.ts';
import { connectWorker, type WorkerParts } from './steps/worker-parts.ts';
import { stopWorker } from './stopping.ts';

export interface RunningWorker {
  /** Where its health can be asked for; null when MEMORY_HEALTH_PORT is 0. */
  healthUrl: string | null;
  /**
   * Takes no more jobs, and lets those in hand finish for at most MEMORY_SHUTDOWN_TIMEOUT_MS. Jobs that have not finished by
   * then go back to the head of their queue, without an attempt counted. Gives the ids of those jobs.
   */
  stop(): Promise<string[]>;
}

/**
 * Starts one worker, which is configured by the environment alone. Throws `invalid_configuration` when a setting that this
 * kind needs is missing or wrong, or when Redis may evict what nobody else has.
 */
export async function startWorker(kind: WorkerKind, environment: Environment): Promise<RunningWorker> {
  const config = loadConfig(environment, (set) => [...STORE_SETTINGS, ...KINDS[kind].settings(set)]);
  const parts = connectWorker(config, createLogger(config.logLevel, `mnemoq-${kind}`));
  try {
    await refuseEvictingRedis(parts.redis, parts.logger);
  } catch (error) {
    await parts.close();
    throw error;
  }
  return run(kind, parts);
}

async function run(kind: WorkerKind, parts: WorkerParts): Promise<RunningWorker> {
  const stopping = new AbortController();
  const queueWorkers = await KINDS[kind].start(parts, stopping.signal);
  const progress = new Progress(queueWorkers, parts);
  let health: HealthServer | null = null;
  let stopped: Promise<string[]> | null = null;
  const stop = () => {
    stopping.abort();
    return stopWorker(queueWorkers, health, parts);
  };
  const stopOnce = () => (stopped ??= stop());
  try {
    health = await startHealthServer(parts.config, async () => progress.check(), parts.metrics);
    const healthUrl = health && health.url;
    parts.logger.info({ kind, healthUrl }, 'worker started');
    return { healthUrl, stop: stopOnce };
  } catch (error) {
    await stopOnce(); // its port is taken, so nobody could ask for its health
    throw error;
  }
}
