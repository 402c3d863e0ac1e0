import type { EventEmitter } from 'node:events';
import { type Job, type JobsOptions, Queue, QueueEvents } from 'bullmq';
import type { Keys } from '../shared/keys.ts';
import type { QueueName } from '../shared/queues.ts';
import { type RedisClient, withinTime } from '../shared/redis.ts';

/** How a waited-for job ended: with its result, or with the reason it failed. */
export type Ending<Result> = { result: Result } | { failedReason: string; job: Job };

/** Puts jobs into queues and, when asked, waits for their end. */
export class Submission {
  readonly #redis: RedisClient;
  readonly #connectEvents: () => RedisClient;
  readonly #prefix: string;
  readonly #timeoutMs: number;
  readonly #queues = new Map<QueueName, Queue>();
  readonly #events = new Map<QueueName, Promise<QueueEvents>>();
  #listening: RedisClient | null = null;

  /** `connectEvents` opens a connection without a command timeout: listening for events is a command that waits. */
  constructor(redis: RedisClient, connectEvents: () => RedisClient, keys: Keys, timeoutMs: number) {
    this.#redis = redis;
    this.#connectEvents = connectEvents;
    this.#prefix = keys.queuePrefix;
    this.#timeoutMs = timeoutMs;
  }

  queue(name: QueueName): Queue {
    const queue = this.#queues.get(name) ?? new Queue(name, { connection: this.#redis, prefix: this.#prefix });
    if (!this.#queues.has(name)) prepare(queue);
    this.#queues.set(name, queue);
    return queue;
  }

  /** Resolves when Redis has the job; a job with a known `jobId` changes nothing. */
  async add(name: QueueName, data: object, options: JobsOptions = {}): Promise<Job> {
    return withinTime(this.queue(name).add(name, data, options), this.#timeoutMs, 'saving');
  }

  /** All or none, in one transaction. */
  async addAll(name: QueueName, jobs: readonly { data: object; jobId: string }[]): Promise<void> {
    const bulk = jobs.map(({ data, jobId }) => ({ name, data, opts: { jobId } }));
    await withinTime(this.queue(name).addBulk(bulk), this.#timeoutMs, 'saving');
  }

  /** Waits for a job's end, at most `waitMs`; null when it has not ended by then. */
  async ending<Result>(
    name: QueueName,
    job: Job,
    waitMs: number,
    onProgress?: (progress: unknown) => void,
  ): Promise<Ending<Result> | null> {
    const events = await withinTime(this.#eventsOf(name), this.#timeoutMs, 'waiting');
    const listen = ({ jobId, data }: { jobId: string; data: unknown }) => jobId === job.id && onProgress?.(data);
    if (onProgress) events.on('progress', listen);
    try {
      return { result: await job.waitUntilFinished(events, waitMs) };
    } catch {
      // It failed, or the time is up, or the waiting went wrong: the job itself tells which.
      const ended = await withinTime(this.queue(name).getJob(job.id ?? ''), this.#timeoutMs, 'waiting');
      if (!ended?.finishedOn) return null;
      return ended.failedReason ? { failedReason: ended.failedReason, job: ended } : { result: ended.returnvalue };
    } finally {
      events.off('progress', listen);
    }
  }

  async close(): Promise<void> {
    for (const listening of this.#events.values()) {
      const events = await listening.catch(() => null);
      await events?.close();
    }
    this.#listening?.disconnect();
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  #eventsOf(name: QueueName): Promise<QueueEvents> {
    const known = this.#events.get(name) ?? this.#listen(name);
    this.#events.set(name, known);
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
