/**
 * **shared/process/**: what a running process needs around its work: queues and how a job ends, waiting times, health and
 * the state it shows, the runs of the reflector.
 */
import { DelayedError, type Job, UnrecoverableError, Worker, type WorkerOptions } from 'bullmq';
import { isError, messageOf } from '../errors.ts';
import type { QueueName } from '../queues.ts';
import { backoffMs } from './retry.ts';
import { describeSpan, queueTelemetry } from '../telemetry/tracing.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Stores } from '../tiers/stores.ts';

/**
 * A job that is in hand when its process dies is taken up again by another process. After this many times BullMQ fails it for
 * good, whatever its attempts. That is often enough for machines that come and go, and a text that kills every process that
 * touches it does not go round for ever.
 */
const MAX_STALLED = 100;

/** When Redis refuses the connection, BullMQ tries again after this time. Its own 15 s would be the longest part of an outage. */
const RETRY_MS = 1_000;

const HOUR = 3_600; // in seconds, as BullMQ takes ages
const DAY = 24 * HOUR;

/**
 * How long finished jobs stay, whoever added them, unless a job asks for something else. While a completed save stays, a
 * repeated save with the same id does nothing; afterwards the short-term cache and the primary key see to that. Failed jobs
 * wait for a person. A quarantined row is in Redis and nowhere else, so only a successful retry removes it.
 */
const RETENTION: Record<QueueName, Pick<WorkerOptions, 'removeOnComplete' | 'removeOnFail'>> = {
  chat: { removeOnComplete: { age: HOUR, count: 10_000 }, removeOnFail: { age: 30 * DAY, count: 100_000 } },
  reflection: { removeOnComplete: { age: HOUR, count: 10_000 }, removeOnFail: { age: 30 * DAY, count: 100_000 } },
  flush: { removeOnComplete: { age: DAY, count: 1_000 }, removeOnFail: { age: DAY, count: 1_000 } },
  quarantine: { removeOnComplete: { age: DAY, count: 1_000 } },
  reflector: { removeOnComplete: { age: HOUR, count: 1_000 }, removeOnFail: { age: 30 * DAY, count: 10_000 } },
  // By these jobs an event that a dispatcher takes twice is one delivery. They stay longer than a dispatcher may lag behind.
  webhook: { removeOnComplete: { age: HOUR, count: 20_000 }, removeOnFail: { age: 30 * DAY, count: 10_000 } },
};

/** What is needed to run a queue. */
export type QueueParts = Pick<Stores, 'redis' | 'keys'> & { logger: Logger; metrics: Metrics };

export interface QueueWorker {
  worker: Worker;
  /** The ids of the jobs that are being worked on. */
  inHand: () => string[];
  /** When a job last began, ended or made progress, in ms of the epoch; before the first job, when the worker was started. */
  lastMove: () => number;
  /** Gives the jobs that are being worked on back to the head of their queue, without counting an attempt. */
  handBack: () => Promise<void>;
}

/**
 * Runs a queue. Every job ends in one of these ways:
 *
 * | the processor | the job |
 * |---|---|
 * | returns | is done |
 * | throws `erased` | is done, and what it carried is taken out of it |
 * | throws `invalid_input` or `UnrecoverableError` | fails, and waits for a person among the failed jobs |
 * | throws anything else | is put off, longer each time up to a minute, as often as it takes |
 *
 * Putting off counts no attempt, so it works the same for jobs any BullMQ client added with any options.
 */
export function startQueueWorker(
  name: QueueName,
  concurrency: number,
  parts: QueueParts,
  process: (job: Job) => Promise<unknown>,
): QueueWorker {
  const logger = parts.logger.child({ queue: name });
  const inHand = new Set<Job>();
  let lastMove = Date.now();
  const move = () => {
    lastMove = Date.now();
  };
  const worker = new Worker(
    name,
    async (job) => {
      inHand.add(job);
      move();
      const time = parts.metrics.jobDuration.startTimer({ queue: name });
      const end = (outcome: 'done' | 'failed' | 'put_off') => {
        time({ outcome });
        describeSpan({ 'mnemoq.outcome': outcome }, outcome !== 'done');
      };
      try {
        const result = await process(job);
        end('done');
        return result;
      } catch (error) {
        if (isError(error, 'erased')) {
          end('done');
          return await forgetData(job, logger);
        }
        const failure = failureOf(error);
        end(failure ? 'failed' : 'put_off');
        if (failure) throw failure;
        await putOff(job, error, logger);
        throw new DelayedError();
      } finally {
        inHand.delete(job);
        move();
      }
    },
    {
      connection: parts.redis,
      prefix: parts.keys.queuePrefix,
      concurrency,
      maxStalledCount: MAX_STALLED,
      runRetryDelay: RETRY_MS,
      ...RETENTION[name],
      ...queueTelemetry(),
    },
  );
  worker.on('progress', move);
  worker.on('failed', (job, error) => logger.error({ id: job?.id, reason: error.message }, 'job failed'));
  worker.on('error', (error) => logger.warn({ reason: messageOf(error) }, 'queue error'));
  return {
    worker,
    inHand: () => Array.from(inHand, ({ id }) => id ?? ''),
    lastMove: () => lastMove,
    handBack: async () => {
      await Promise.all(Array.from(inHand, (job) => job.moveToWait(job.token)));
    },
  };
}

/** A finished job stays for a while, and its text must not stay. */
async function forgetData(job: Job, logger: Logger): Promise<{ erased: true }> {
  await job.updateData({ id: job.id });
  logger.info({ id: job.id }, 'a record of an erased user or conversation was not taken');
  return { erased: true };
}

/** The error that ends a job as failed; null when the job is to be put off. */
export function failureOf(error: unknown): UnrecoverableError | null {
  if (error instanceof UnrecoverableError) return error;
  return isError(error, 'invalid_input') ? new UnrecoverableError(error.message) : null;
}

/**
 * Where Redis does not take even this, because it is full or has just become a replica, the job stays active and is taken up
 * again when its lock has run out. If that error were thrown on, it would end the job as failed.
 */
async function putOff(job: Job, error: unknown, logger: Logger): Promise<void> {
  const { id, attemptsStarted: start } = job;
  const wait = backoffMs(start);
  logger.warn({ id, start, wait, reason: messageOf(error) }, 'job put off');
  try {
    await job.moveToDelayed(Date.now() + wait, job.token);
  } catch (refusal) {
    logger.warn({ id, reason: messageOf(refusal) }, 'could not put the job off; it is taken up when its lock runs out');
  }
}
