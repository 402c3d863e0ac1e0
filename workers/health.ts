import { measure, reasonsFor } from '../shared/tiers/condition.ts';
import { messageOf } from '../shared/errors.ts';
import type { QueueName } from '../shared/queues.ts';
import { withinTime } from '../shared/redis/within-time.ts';
import type { WorkerParts } from './steps/worker-parts.ts';
import type { QueueWorker } from '../shared/process/queue-worker.ts';

/**
 * A worker that has jobs and makes no progress with any of them for this long is stuck, whatever its connection says. With a
 * probe every five seconds it is out of service within thirty seconds.
 */
const STUCK_MS = 25_000;
/** How long Redis may take to answer before the worker counts as unready. */
const ANSWER_MS = 2_000;

export interface Health {
  /**
   * `unready`: this worker makes no progress. `degraded`: this worker makes progress, and the memory as a whole needs the
   * attention of a person. To take a degraded worker out of service would not help, so it counts as ready.
   */
  status: 'ok' | 'degraded' | 'unready';
  ready: boolean;
  /** Why the status is not ok, in words; empty when it is ok. */
  reasons: string[];
}

/** Tells whether a worker makes progress with its queues, which a ping of its connection would not tell. */
export class Progress {
  readonly #queueWorkers: readonly QueueWorker[];
  readonly #parts: WorkerParts;

  constructor(queueWorkers: readonly QueueWorker[], parts: WorkerParts) {
    this.#queueWorkers = queueWorkers;
    this.#parts = parts;
  }

  async check(now = Date.now()): Promise<Health> {
    try {
      return await withinTime(this.#look(now), ANSWER_MS, 'asking for its health');
    } catch (error) {
      return unready([`Redis does not answer: ${messageOf(error)}`]);
    }
  }

  async #look(now: number): Promise<Health> {
    const stuck: string[] = [];
    for (const queueWorker of this.#queueWorkers) {
      const { name } = queueWorker.worker;
      const paused = await this.#parts.queue(name as QueueName).isPaused();
      if (!queueWorker.worker.isRunning()) stuck.push(`the worker of queue ${name} does not run`);
      // On a paused queue no job moves, and that is what somebody wanted.
      else if (!paused) stuck.push(...(await this.#stuckIn(queueWorker, now)));
    }
    if (stuck.length > 0) return unready(stuck);
    const reasons = reasonsFor(await measure(this.#parts, now), this.#parts.config, now);
    return { status: reasons.length === 0 ? 'ok' : 'degraded', ready: true, reasons };
  }

  async #stuckIn({ worker, inHand, lastMove }: QueueWorker, now: number): Promise<string[]> {
    const still = now - lastMove();
    if (still <= STUCK_MS) return [];
    const waiting = await this.#parts.queue(worker.name as QueueName).getWaitingCount();
    const held = inHand().length;
    if (waiting + held === 0) return [];
    const seconds = Math.round(still / 1000);
    return [`queue ${worker.name}: ${waiting} jobs wait, ${held} are in hand, and none has moved for ${seconds} s`];
  }
}

function unready(reasons: string[]): Health {
  return { status: 'unready', ready: false, reasons };
}
