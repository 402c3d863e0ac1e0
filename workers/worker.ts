/**
 * **workers/**: what takes jobs from queues. This file starts any kind of worker; the kinds stand in folders, and
 * producers are not known here.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config, Setting } from '../shared/settings/variables.ts';
import { type ConfigWith, type Environment, loadConfig, STORE_SETTINGS } from '../shared/settings/config.ts';
import { ContextReader } from '../shared/tiers/context-reader.ts';
import { Keyring } from '../shared/secrets/keyring.ts';
import { type HealthServer, startHealthServer } from '../shared/process/health-server.ts';
import { Ipfs } from '../shared/pinning/ipfs.ts';
import { messageOf } from '../shared/errors.ts';
import { createLogger, type Logger } from '../shared/telemetry/log.ts';
import { refuseEvictingRedis } from '../shared/short-term/redis.ts';
import { processReflector } from '../shared/process/reflector.ts';
import { Signer } from '../shared/secrets/signing.ts';
import { exposeState } from '../shared/process/state-metrics.ts';
import { processChat } from './saving/chat.ts';
import { processFlush } from './flush/flush-job.ts';
import { scheduleFlushes } from './steps/flush-schedule.ts';
import { Progress } from './health.ts';
import { connectWorker, type WorkerParts } from './steps/worker-parts.ts';
import { processQuarantined } from './flush/quarantine.ts';
import { type QueueWorker, startQueueWorker } from '../shared/process/queue-worker.ts';
import { reflectorAt, type ReflectorConfig } from './outside/reflector.ts';
import { processReflection } from './saving/reflection.ts';
import { keepUp } from './flush/upkeep.ts';
import { deliver, dispatchEvents, type WebhookConfig } from './outside/webhook-delivery.ts';

export const WORKER_KINDS = ['chat', 'reflection', 'flush'] as const;
/** Only where it is configured. */
export const OPTIONAL_WORKER_KINDS = ['webhook', 'reflector'] as const;
export type WorkerKind = (typeof WORKER_KINDS | typeof OPTIONAL_WORKER_KINDS)[number];

/** How long handing jobs back and letting go of connections may take once the time to finish is over. */
const HAND_BACK_MS = 2_000;

/** Reflections under way at once: each waits for Supabase and IPFS more than it computes. */
const REFLECTION_CONCURRENCY = 10;

/** Calls of the reflector under way at once: models are slow, and not cheap. */
const REFLECTORS_AT_ONCE = 5;

/** Deliveries under way at once: an endpoint should not feel attacked. */
const DELIVERIES_AT_ONCE = 10;

export interface RunningWorker {
  /** Where its health can be asked; null when MEMORY_HEALTH_PORT is 0. */
  healthUrl: string | null;
  /**
   * Takes no more jobs and lets those in hand finish, for at most `shutdownTimeoutMs`. Jobs that have not finished by then
   * go back to their queue, first in line and without an attempt counted; gives their ids.
   */
  stop(): Promise<string[]>;
}

/** Starts one worker, configured by the environment alone; throws `invalid_configuration` when that is not complete. */
export async function startWorker(kind: WorkerKind, environment: Environment): Promise<RunningWorker> {
  const config = loadConfig(environment, (read) => [...STORE_SETTINGS, ...settingsOf(kind, read)]);
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
  const queueWorkers = await STARTERS[kind](parts, stopping.signal);
  const progress = new Progress(queueWorkers, parts);
  let health: HealthServer | null = null;
  let stopped: Promise<string[]> | null = null;
  const stopOnce = () => (stopped ??= stop(queueWorkers, parts, health, stopping));
  try {
    health = await startHealthServer(parts.config, async () => progress.check(), parts.metrics);
    const healthUrl = health && health.url;
    parts.logger.info({ kind, healthUrl }, 'worker started');
    return { healthUrl, stop: stopOnce };
  } catch (error) {
    await stopOnce(); // its port is taken: nobody could ask for its health
    throw error;
  }
}

/** What each kind needs beyond the stores. */
function settingsOf(kind: WorkerKind, { textCache = 'encrypted', encryptTokens }: Partial<Config>): Setting[] {
  if (kind === 'flush') return [];
  if (kind === 'reflector') return encryptTokens ? ['reflectorUrl', 'encryptionKeys'] : ['reflectorUrl'];
  if (kind === 'webhook') return ['webhookUrl', 'webhookSecret'];
  if (kind === 'reflection') return ['ipfsApiUrl', 'signingKey', 'encryptionKeys'];
  return textCache === 'encrypted' || encryptTokens ? ['encryptionKeys'] : [];
}

type ReflectionConfig = ConfigWith<'ipfsApiUrl' | 'signingKey' | 'encryptionKeys'>;
type Starter = (parts: WorkerParts, stopping: AbortSignal) => Promise<QueueWorker[]>;

const STARTERS: Record<WorkerKind, Starter> = {
  async chat(parts) {
    return [startQueueWorker('chat', parts.config.workerConcurrency, parts, (job) => processChat(job.data, parts))];
  },

  async reflection(parts) {
    const { ipfsApiUrl, ipfsTimeoutMs, signingKey, encryptionKeys } = parts.config as ReflectionConfig;
    const reflectionParts = {
      ...parts,
      keyring: new Keyring(encryptionKeys),
      signer: new Signer(signingKey),
      ipfs: new Ipfs(ipfsApiUrl, ipfsTimeoutMs),
    };
    return [
      startQueueWorker('reflection', REFLECTION_CONCURRENCY, parts, (job) =>
        processReflection(job.data, job as never, reflectionParts),
      ),
    ];
  },

  async flush(parts, stopping) {
    await parts.pending.prepare();
    await scheduleFlushes(parts);
    exposeState(parts.metrics, parts);
    const consumer = randomUUID();
    keepUp(consumer, stopping, parts);
    const flushes = startQueueWorker('flush', 1, parts, (job) => processFlush(job, consumer, stopping, parts));
    const quarantine = startQueueWorker('quarantine', 1, parts, (job) =>
      processQuarantined(job.data, job.attemptsStarted, parts),
    );
    const handBack = async () => {
      await Promise.all([flushes.handBack(), parts.pending.releaseAll(consumer)]);
    };
    return [{ ...flushes, handBack }, quarantine];
  },

  async reflector(parts) {
    const { shortTerm, longTerm, metrics } = parts;
    const reflectorParts = { ...parts, reader: new ContextReader(shortTerm, longTerm.memories, metrics) };
    const reflect = reflectorAt(parts.config as ReflectorConfig);
    return [
      startQueueWorker('reflector', REFLECTORS_AT_ONCE, parts, async (job) =>
        processReflector(job, reflect, reflectorParts),
      ),
    ];
  },

  async webhook(parts, stopping) {
    await dispatchEvents(stopping, parts);
    const config = parts.config as WebhookConfig;
    return [startQueueWorker('webhook', DELIVERIES_AT_ONCE, parts, (job) => deliver(job, config))];
  },
};

async function stop(
  queueWorkers: readonly QueueWorker[],
  parts: WorkerParts,
  health: HealthServer | null,
  stopping: AbortController,
): Promise<string[]> {
  stopping.abort();
  const closed = Promise.all(queueWorkers.map(({ worker }) => worker.close()));
  // BullMQ's close() has no limit of its own, and forcing it after it was asked nicely does nothing.
  const left = await within(parts.config.shutdownTimeoutMs, closed).then(
    () => [],
    () => queueWorkers.flatMap(({ inHand }) => inHand()),
  );
  if (left.length === 0) parts.logger.info('stopped');
  else await handBack(queueWorkers, left, parts.logger);
  await health?.close();
  await within(HAND_BACK_MS, parts.close()).catch(() => undefined);
  return left;
}

/** Redis may be what the jobs were waiting for: then they are free when their locks have run out. */
async function handBack(queueWorkers: readonly QueueWorker[], left: string[], logger: Logger): Promise<void> {
  try {
    await within(HAND_BACK_MS, Promise.all(queueWorkers.map((queueWorker) => queueWorker.handBack())));
    logger.error({ left }, 'stopped before these jobs were done; they are back in their queue');
  } catch (error) {
    const reason = messageOf(error);
    logger.error({ left, reason }, 'stopped before these jobs were done; they are taken up when their locks run out');
  }
}

/** Rejects when the work takes longer. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const deadline = new AbortController();
  const late = sleep(ms, null, { signal: deadline.signal }).then(() => {
    throw new Error(`not done within ${ms} ms`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    late.catch(() => undefined);
    deadline.abort();
  }
}
