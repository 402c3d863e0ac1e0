import type { EventEmitter } from 'node:events';
import { type Job, type JobsOptions, QueueEvents } from 'bullmq';
import { isError } from '../../shared/errors.ts';
import type { ProcessParts } from '../../shared/process/process-parts.ts';
import type { QueueName } from '../../shared/queues.ts';
import type { RedisClient } from '../../shared/redis/connection.ts';
import { withinTime } from '../../shared/redis/within-time.ts';

/** How a waited-for job ended: with its result, or with the reason it failed. */
export type Ending<Result> = { result: Result } | { failedReason: string; job: Job };

type SubmissionParts = Pick<ProcessParts, 'config' | 'keys' | 'metrics' | 'queue' | 'redis'>;

/** Puts jobs into queues and, when asked, waits for their end. */
export class Submission {
  readonly #parts: SubmissionParts;
  readonly #timeoutMs: number;
  readonly #connectEvents: () => RedisClient;
  readonly #events = new Map<QueueName, Promise<QueueEvents>>();
  #listening: RedisClient | null = null;

  /** `connectEvents` opens a connection without a command timeout: listening for events is a command that waits. */
  constructor(parts: SubmissionParts, connectEvents: () => RedisClient) {
    this.#parts = parts;
    this.#timeoutMs = parts.config.redisTimeoutMs;
    this.#connectEvents = connectEvents;
  }

  /**
   * Resolves when Redis has the job. A job whose `jobId` the queue already knows changes nothing. `doing` says in an error
   * what the caller was doing.
   */
  async add(name: QueueName, data: object, options: JobsOptions = {}, doing = 'saving'): Promise<Job> {
    const adding = this.#parts.queue(name).add(name, data, options);
    return this.#counted(name, [data], withinTime(adding, this.#timeoutMs, doing));
  }

  /** Adds all jobs or none of them, in one transaction. */
  async addAll(name: QueueName, jobs: readonly { data: object; jobId: string }[]): Promise<Job[]> {
    const bulk = jobs.map(({ data, jobId }) => ({ name, data, opts: { jobId } }));
    const adding = this.#parts.queue(name).addBulk(bulk);
    const records = jobs.map(({ data }) => data);
    return this.#counted(name, records, withinTime(adding, this.#timeoutMs, 'saving'));
  }

  /**
   * Waits at most `waitMs` for the end of a job. Gives null when the job has not ended by then, and when Redis is away and
   * cannot tell; the job is in its queue in both cases. BullMQ's own `waitUntilFinished` is not used: when Redis is away it
   * leaves a rejection unhandled, which ends the process (seen in 6.7.0, where an async function is a promise's executor).
   */
  async ending<Result>(
    name: QueueName,
    { id = '' }: Job,
    waitMs: number,
    onProgress?: (progress: unknown) => void,
  ): Promise<Ending<Result> | null> {
    try {
      const events = await withinTime(this.#eventsOf(name), this.#timeoutMs, 'waiting');
      return await this.#listenFor(events, id, waitMs, onProgress, () => this.#ended<Result>(name, id));
    } catch (error) {
      if (isError(error, 'redis_unavailable')) return null;
      throw error;
    }
  }

  async close(): Promise<void> {
    const listeners = await Promise.all([...this.#events.values()].map((listening) => listening.catch(() => null)));
    // BullMQ waits here without end while Redis is away. The connection itself is closed below.
    const closed = listeners
      .filter((events) => events !== null)
      .map((events) => withinTime(events.close(), this.#timeoutMs, 'closing').catch(() => undefined));
    await Promise.all(closed);
    this.#listening?.disconnect();
  }

  /** Counts saves. A request for a flush or for a reflection is not a save. */
  async #counted<T>(name: QueueName, records: readonly object[], adding: Promise<T>): Promise<T> {
    if (name === 'flush' || name === 'reflector') return adding;
    const { metrics } = this.#parts;
    const added = await metrics.countRefusal(() => adding);
    for (const record of records) {
      const { module = name } = record as { module?: string };
      metrics.savesAccepted.inc({ module });
    }
    return added;
  }

  /** Looks whether the job has ended. If it has not, looks once more when the job says so or when the time is up. */
  async #listenFor<T>(
    events: QueueEvents,
    id: string,
    waitMs: number,
    onProgress: ((progress: unknown) => void) | undefined,
    look: () => Promise<T | null>,
  ): Promise<T | null> {
    const emitter: EventEmitter = events;
    const { promise: word, resolve } = Promise.withResolvers<void>();
    const listeners: [event: string, listener: (said: { jobId: string; data: unknown }) => void][] = [
      [`completed:${id}`, () => resolve()],
      [`failed:${id}`, () => resolve()],
      ['progress', ({ jobId, data }) => jobId === id && onProgress?.(data)],
    ];
    for (const [event, listener] of listeners) emitter.on(event, listener);
    const timer = setTimeout(resolve, waitMs);
    try {
      const ended = await look(); // the job may have ended before anybody listened
      if (ended) return ended;
      await word;
      return await look();
    } finally {
      clearTimeout(timer);
      for (const [event, listener] of listeners) emitter.off(event, listener);
    }
  }

  async #ended<Result>(name: QueueName, id: string): Promise<Ending<Result> | null> {
    const job = await withinTime(this.#parts.queue(name).getJob(id), this.#timeoutMs, 'waiting');
    if (!job?.finishedOn) return null;
    return job.failedReason ? { failedReason: job.failedReason, job } : { result: job.returnvalue };
  }

  #eventsOf(name: QueueName): Promise<QueueEvents> {
    const known = this.#events.get(name) ?? this.#listen(name);
    this.#events.set(name, known);
    known.catch(() => this.#events.delete(name)); // the next caller who waits tries again
    return known;
  }

  /**
   * Listens to everything that comes after the newest event of this moment. By itself QueueEvents begins with the first
   * event after its first blocking read, and would miss the end of a job that ends just before that read.
   */
  async #listen(name: QueueName): Promise<QueueEvents> {
    const { keys, queue, redis } = this.#parts;
    const [newest] = await redis.xrevrange(queue(name).toKey('events'), '+', '-', 'COUNT', 1);
    const events = new QueueEvents(name, {
      connection: this.#eventsRedis(),
      prefix: keys.queuePrefix,
      lastEventId: newest?.[0] ?? '0-0',
    });
    events.on('error', () => undefined); // the connection logs its own outages
    events.setMaxListeners(0); // there are three listeners for every save that is waited for
    return events;
  }

  #eventsRedis(): RedisClient {
    this.#listening ??= this.#connectEvents();
    return this.#listening;
  }
}
