import { DelayedError, type Job, UnrecoverableError, Worker, type WorkerOptions } from 'bullmq';
import { isError, messageOf } from '../shared/errors.ts';
import type { QueueName } from '../shared/queues.ts';
import { backoffMs } from '../shared/retry.ts';
import type { Parts } from './parts.ts';

/**
 * A job that is in hand when its process dies is taken up again by another. BullMQ fails it for good after this many
 * times, whatever its attempts: often enough for machines that come and go, but a text that kills every process that
 * touches it does not go round for ever.
 */
const MAX_STALLED = 100;

const HOUR = 3_600; // BullMQ takes ages in seconds
const DAY = 24 * HOUR;

/**
 * How long finished jobs stay, whoever added them (a job may ask for something else). Completed saves make a repeated save
 * with the same id a no-op; after that the short-term cache and the primary key do. Failed ones wait for a person. A
 * quarantined row is nowhere else but in Redis, so only a successful retry removes it.
 */
const RETENTION: Record<QueueName, Pick<WorkerOptions, 'removeOnComplete' | 'removeOnFail'>> = {
  chat: { removeOnComplete: { age: HOUR, count: 10_000 }, removeOnFail: { age: 30 * DAY, count: 100_000 } },
  reflection: { removeOnComplete: { age: HOUR, count: 10_000 }, removeOnFail: { age: 30 * DAY, count: 100_000 } },
  flush: { removeOnComplete: { age: DAY, count: 1_000 }, removeOnFail: { age: DAY, count: 1_000 } },
  quarantine: { removeOnComplete: { age: DAY, count: 1_000 } },
};

export interface QueueWorker {
  worker: Worker;
  /** Ids of the jobs being worked on. */
  inHand: ReadonlySet<string>;
}

/**
 * Runs a queue. Every job ends in one of three ways:
 *
 * | the processor | the job |
 * |---|---|
 * | returns | is done |
 * | throws `invalid_input` or `UnrecoverableError` | fails, and waits for a person among the failed jobs |
 * | throws anything else | is put off, longer each time up to a minute, as often as it takes |
 *
 * Putting off counts no attempt, so it works the same for jobs any BullMQ client added with any options.
 */
export function startQueueWorker(
  name: QueueName,
  concurrency: number,
  parts: Parts,
  process: (job: Job) => Promise<unknown>,
): QueueWorker {
  const logger = parts.logger.child({ queue: name });
  const inHand = new Set<string>();
  const worker = new Worker(
    name,
    async (job, token) => {
      const id = job.id ?? '';
      inHand.add(id);
      try {
        return await process(job);
      } catch (error) {
        if (error instanceof UnrecoverableError) throw error;
        if (isError(error, 'invalid_input')) throw new UnrecoverableError(error.message);
        const wait = backoffMs(job.attemptsStarted);
        logger.warn({ id, start: job.attemptsStarted, wait, reason: messageOf(error) }, 'job put off');
        await job.moveToDelayed(Date.now() + wait, token);
        throw new DelayedError();
      } finally {
        inHand.delete(id);
      }
    },
    {
      connection: parts.redis,
      prefix: parts.keys.queuePrefix,
      concurrency,
      maxStalledCount: MAX_STALLED,
      ...RETENTION[name],
    },
  );
  worker.on('failed', (job, error) => logger.error({ id: job?.id, reason: error.message }, 'job failed'));
  worker.on('error', (error) => logger.warn({ reason: messageOf(error) }, 'queue error'));
  return { worker, inHand };
}
