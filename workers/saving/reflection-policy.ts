import type { ChatJob } from '../../shared/records/jobs.ts';
import { ring } from '../../shared/process/reflector.ts';
import type { Remembered } from '../../shared/short-term/short-term.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';

/**
 * Rings for the reflector when a turn makes a reflection due: at once, or when the conversation then stays quiet. A repeated
 * delivery of the turn rings as well, because the first delivery may have died before it could. When the reflector's job was
 * put off after an error, not every further turn brings it forward, only the one that completes the next
 * MEMORY_REFLECTOR_EVERY_TURNS.
 */
export async function askReflector(
  { contextId, userId }: ChatJob,
  remembered: Remembered,
  parts: WorkerParts,
): Promise<void> {
  const { turnsDue, isReflectionAsked } = remembered;
  const { reflectorEveryTurns: every, reflectorIdleMs: idle } = parts.config;
  const owner = { contextId, userId };
  const add = async (data: object, options: object) => parts.queue('reflector').add('reflector', data, options);
  if (turnsDue === 0) return;
  const isFull = every > 0 && turnsDue >= every;
  if (isFull || isReflectionAsked) await ring(add, owner, { reschedule: isFull && turnsDue % every === 0 });
  else if (idle > 0) await ring(add, owner, { delay: idle, reschedule: true });
}
