import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../shared/errors.ts';
import type { HealthServer } from '../shared/process/health-server.ts';
import type { QueueWorker } from '../shared/process/queue-worker.ts';
import type { Logger } from '../shared/telemetry/log.ts';
import type { WorkerParts } from './steps/worker-parts.ts';

/** When the time to finish is over, handing jobs back may take this long, and letting go of connections as well. */
const HAND_BACK_MS = 2_000;

/**
 * Takes no more jobs, lets those in hand finish for at most MEMORY_SHUTDOWN_TIMEOUT_MS, hands back those that have not, and
 * then closes all connections. Gives the ids of the jobs that were not finished.
 */
export async function stopWorker(
  queueWorkers: readonly QueueWorker[],
  health: HealthServer | null,
  parts: WorkerParts,
): Promise<string[]> {
  const closed = Promise.all(queueWorkers.map(({ worker }) => worker.close()));
  // The close() of a BullMQ worker has no time limit. To force it does nothing once it was called without force.
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

/** Redis may be what the jobs were waiting for. Then handing back fails, and the jobs are free when their locks run out. */
async function handBack(queueWorkers: readonly QueueWorker[], left: string[], logger: Logger): Promise<void> {
  try {
    await within(HAND_BACK_MS, Promise.all(queueWorkers.map((queueWorker) => queueWorker.handBack())));
    logger.error({ left }, 'stopped before these jobs were done; they are back in their queue');
  } catch (error) {
    const reason = messageOf(error);
    logger.error({ left, reason }, 'stopped before these jobs were done; they are taken up when their locks run out');
  }
}

/** Rejects when the work takes longer than `ms`. */
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
