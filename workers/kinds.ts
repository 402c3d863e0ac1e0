import { randomUUID } from 'node:crypto';
import { type QueueWorker, startQueueWorker } from '../shared/process/queue-worker.ts';
import { processReflector } from '../shared/process/reflector.ts';
import { exposeState } from '../shared/process/state-metrics.ts';
import type { Config, Setting } from '../shared/settings/variables.ts';
import { ContextReader } from '../shared/tiers/context-reader.ts';
import { processFlush } from './flush/flush-job.ts';
import { processQuarantined } from './flush/quarantine.ts';
import { keepUp } from './flush/upkeep.ts';
import { reflectorAt, type ReflectorConfig } from './outside/reflector.ts';
import { deliver, type WebhookConfig } from './outside/webhook-delivery.ts';
import { dispatchEvents } from './outside/webhook-dispatch.ts';
import { processChat } from './saving/chat.ts';
import { processReflection } from './saving/reflection.ts';
import { addReflectionParts, type ReflectionConfig } from './saving/reflection-parts.ts';
import { scheduleFlushes } from './steps/flush-schedule.ts';
import type { WorkerParts } from './steps/worker-parts.ts';

/** The kinds that every deployment runs. */
export const WORKER_KINDS = ['chat', 'reflection', 'flush'] as const;
/** The kinds that run only where they are configured. */
export const OPTIONAL_WORKER_KINDS = ['webhook', 'reflector'] as const;
export type WorkerKind = (typeof WORKER_KINDS | typeof OPTIONAL_WORKER_KINDS)[number];

/** Each reflection waits for Supabase and IPFS more than it computes. */
const REFLECTIONS_AT_ONCE = 10;
/** Models are slow, and their calls cost money. */
const REFLECTOR_CALLS_AT_ONCE = 5;
/** More at once would look like an attack to the endpoint. */
const DELIVERIES_AT_ONCE = 10;

/** What differs between the kinds of workers. */
interface Kind {
  /** The settings that this kind needs beside those of the stores, by what else is set. */
  settings(set: Pick<Partial<Config>, 'textCache' | 'encryptTokens'>): Setting[];
  /** Starts the work on its queues, and what it does beside them until `stopping` is aborted. */
  start(parts: WorkerParts, stopping: AbortSignal): Promise<QueueWorker[]>;
}

export const KINDS: Record<WorkerKind, Kind> = {
  chat: {
    settings: ({ textCache = 'encrypted', encryptTokens }) =>
      textCache === 'encrypted' || encryptTokens ? ['encryptionKeys'] : [],
    async start(parts) {
      return [startQueueWorker('chat', parts.config.workerConcurrency, parts, (job) => processChat(job.data, parts))];
    },
  },

  reflection: {
    settings: () => ['ipfsApiUrl', 'signingKey', 'encryptionKeys'],
    async start(parts) {
      const reflectionParts = addReflectionParts(parts, parts.config as ReflectionConfig);
      return [
        startQueueWorker('reflection', REFLECTIONS_AT_ONCE, parts, (job) =>
          processReflection(job.data, job as never, reflectionParts),
        ),
      ];
    },
  },

  flush: {
    settings: () => [],
    async start(parts, stopping) {
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
  },

  reflector: {
    settings: ({ encryptTokens }) => (encryptTokens ? ['reflectorUrl', 'encryptionKeys'] : ['reflectorUrl']),
    async start(parts) {
      const { shortTerm, longTerm, metrics } = parts;
      const reflectorParts = { ...parts, reader: new ContextReader(shortTerm, longTerm.memories, metrics) };
      const reflect = reflectorAt(parts.config as ReflectorConfig);
      return [
        startQueueWorker('reflector', REFLECTOR_CALLS_AT_ONCE, parts, (job) =>
          processReflector(job, reflect, reflectorParts),
        ),
      ];
    },
  },

  webhook: {
    settings: () => ['webhookUrl', 'webhookSecret'],
    async start(parts, stopping) {
      await dispatchEvents(stopping, parts);
      const config = parts.config as WebhookConfig;
      return [startQueueWorker('webhook', DELIVERIES_AT_ONCE, parts, (job) => deliver(job, config))];
    },
  },
};
