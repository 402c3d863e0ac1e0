import type { EventEmitter } from 'node:events';
import { type Job, type JobsOptions, Queue, QueueEvents } from 'bullmq';
import { isError } from '../../shared/errors.ts';
import type { Keys } from '../../shared/short-term/keys.ts';
import type { Metrics } from '../../shared/telemetry/metrics.ts';
import type { QueueName } from '../../shared/queues.ts';
import { type RedisClient, withinTime } from '../../shared/short-term/redis.ts';
import { queueTelemetry } from '../../shared/telemetry/tracing.ts';

/** How a waited-for job ended: with its result, or with the reason it failed. */
export type Ending<Result> = { result: Result } | { failedReason: string; job: Job };

/** Puts jobs into queues and, when asked, waits for their end. */
export class Submission {
  readonly #redis: RedisClient;
  readonly #connectEvents: () => RedisClient;
  readonly #prefix: string;
  readonly #timeoutMs: number;
  readonly #metrics: Metrics;
  readonly #queues = new Map<QueueName, Queue>();
  readonly #events = new Map<QueueName, Promise<QueueEvents>>();
  #listening: RedisClient | null = null;

  /** `connectEvents` opens a connection without a command timeout: listening for events is a command that waits. */
  constructor(redis: RedisClient, connectEvents: () => RedisClient, keys: Keys, timeoutMs: number, metrics: Metrics) {
    this.#redis = redis;
    this.#connectEvents = connectEvents;
    this.#prefix = keys.queuePrefix;
    this.#timeoutMs = timeoutMs;
    this.#metrics = metrics;
  }

  queue(name: QueueName): Queue {
    const known = this.#queues.get(name);
    if (known) return known;
    const queue = new Queue(name, {
      connection: this.#redis,
      prefix: this.#prefix,
      skipVersionCheck: true,
      ...queueTelemetry(),
    });
    prepare(queue);
    this.#queues.set(name, queue);
    // One that met no Redis when it was made stays broken: whoever comes next makes another.
    queue.waitUntilReady().catch(() => this.#queues.delete(name));
    return queue;
  }

  /** Resolves when Redis has the job; a job with a known `jobId` changes nothing. `doing` names it where it fails. */
  async add(name: QueueName, data: object, options: JobsOptions = {}, doing = 'saving'): Promise<Job> {
    return this.#counted(name, 1, withinTime(this.queue(name).add(name, data, options), this.#timeoutMs, doing));
  }

  /** All or none, in one transaction. */
  async addAll(name: QueueName, jobs: readonly { data: object; jobId: string }[]): Promise<void> {
    const bulk = jobs.map(({ data, jobId }) => ({ name, data, opts: { jobId } }));
    await this.#counted(name, jobs.length, withinTime(this.queue(name).addBulk(bulk), this.#timeoutMs, 'saving'));
  }

  /**
   * Waits for a job's end, at most `waitMs`; null when it has not ended by then, or when Redis is away and cannot tell:
   * the job is in its queue all the same. (BullMQ's `waitUntilFinished` leaves a rejection unhandled in that case, which
   * ends the process: 6.7.0, an async function as a promise's executor.)
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
    const parts = [...listeners.filter((events) => events !== null), ...this.#queues.values()];
    // BullMQ waits without end where Redis is away; the connections end below and with MemoryCore.
    const closed = parts.map((part) => withinTime(part.close(), this.#timeoutMs, 'closing').catch(() => undefined));
    await Promise.all(closed);
    this.#listening?.disconnect();
  }

  /** Counts what is saved; a flush or a reflection that is asked for is no save. */
  async #counted<T>(name: QueueName, records: number, adding: Promise<T>): Promise<T> {
    if (name === 'flush' || name === 'reflector') return adding;
    const added = await this.#metrics.countRefusal(() => adding);
    this.#metrics.savesAccepted.inc({ queue: name }, records);
    return added;
  }

  /** Looks whether the job has ended, and if not, once more when it says so or the time is up. */
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
      const ended = await look(); // it may have ended before anybody listened
      if (ended) return ended;
      await word;
      return await look();
    } finally {
      clearTimeout(timer);
      for (const [event, listener] of listeners) emitter.off(event, listener);
    }
  }

  async #ended<Result>(name: QueueName, id: string): Promise<Ending<Result> | null> {
    const job = await withinTime(this.queue(name).getJob(id), this.#timeoutMs, 'waiting');
    if (!job?.finishedOn) return null;
    return job.failedReason ? { failedReason: job.failedReason, job } : { result: job.returnvalue };
  }

  #eventsOf(name: QueueName): Promise<QueueEvents> {
    const known = this.#events.get(name) ?? this.#listen(name);
    this.#events.set(name, known);
    known.catch(() => this.#events.delete(name)); // the next one who waits tries again
    return known;
  }

  /**
   * Listens from the newest event on, as of now. Left to itself QueueEvents begins with the first event after its first
   * blocking read, and a job that ends just before that would be waited for in vain.
   */
  async #listen(name: QueueName): Promise<QueueEvents> {
    const key = this.queue(name).toKey('events');
    const [newest] = await this.#redis.xrevrange(key, '+', '-', 'COUNT', 1);
    const events = new QueueEvents(name, {
      connection: this.#eventsRedis(),
      prefix: this.#prefix,
      lastEventId: newest?.[0] ?? '0-0',
    });
    prepare(events);
    return events;
  }

  #eventsRedis(): RedisClient {
    this.#listening ??= this.#connectEvents();
    return this.#listening;
  }
}

function prepare(emitter: EventEmitter): void {
  emitter.on('error', () => undefined); // the connection logs its own outages
  emitter.setMaxListeners(0); // one for every save that is waited for
}
