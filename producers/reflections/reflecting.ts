import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { type ReflectionRequest, reflectionRequest } from '../../shared/records/jobs.ts';
import { connectWorkerRedis } from '../../shared/redis/connection.ts';
import { withinTime } from '../../shared/redis/within-time.ts';
import { startQueueWorker } from '../../shared/process/queue-worker.ts';
import { processReflector, type Reflector, ring } from '../../shared/process/reflector.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';

export interface ReflectionRequestReceipt {
  success: true;
  /** Names the request. It is known in the reflector's queue and nowhere else. */
  id: string;
  contextId: string;
  userId: string | null;
  note: string;
}

const reflector = z.custom<Reflector>((value) => typeof value === 'function', 'a function');
/** Exported because docs/calls.md is made from it. @public */
export const reflectorOptions = z.strictObject({ concurrency: z.int().min(1).max(1_000).optional() });
export type ReflectorOptions = z.input<typeof reflectorOptions>;

/** Reflections under way at once in one process, by default. */
const AT_ONCE = 5;

/** Keeps one request for a user in a conversation. The latest request takes the place of one that was not begun yet. */
export async function requestReflection(input: ReflectionRequest, parts: CallParts): Promise<ReflectionRequestReceipt> {
  const { focus = null, contextId, userId } = validate(reflectionRequest, input, 'the request');
  const { admission, config, reflectorState, submission } = parts;
  const id = uuidv7();
  const asking = async () => {
    await admission.admit();
    await reflectorState.ask({ contextId, userId }, { id, focus });
  };
  await withinTime(asking(), config.redisTimeoutMs, 'asking for a reflection');
  const add = async (data: object, options: object) =>
    submission.add('reflector', data, options, 'asking for a reflection');
  await ring(add, { contextId, userId }, { reschedule: true });
  return {
    success: true,
    id,
    contextId,
    userId: userId ?? null,
    note: 'asked for; the latest request of those that wait is begun',
  };
}

/**
 * Runs the queue of the reflector in this process. Gives a function that stops it and lets what is in hand end, within
 * MEMORY_REDIS_TIMEOUT_MS.
 */
export function reflectWith(reflect: Reflector, options: ReflectorOptions, parts: CallParts): () => Promise<void> {
  validate(reflector, reflect, 'the reflector');
  const { concurrency = AT_ONCE } = validate(reflectorOptions, options, 'the options');
  const { config, logger } = parts;
  const redis = connectWorkerRedis(config.redisUrl, logger);
  const { worker } = startQueueWorker('reflector', concurrency, { ...parts, redis }, async (job) =>
    processReflector(job, reflect, parts),
  );
  return async () => {
    await withinTime(worker.close(), config.redisTimeoutMs, 'closing').catch(() => undefined);
    redis.disconnect();
  };
}
