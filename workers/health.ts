import fastify, { type FastifyInstance } from 'fastify';
import type { Worker } from 'bullmq';
import { messageOf } from '../shared/errors.ts';
import type { Parts } from './parts.ts';

/** A worker that has jobs waiting and finishes none for this long is stuck, whatever its connection says. */
const STUCK_MS = 30_000;
/** How long Redis may take to answer a health question. */
const ANSWER_MS = 2_000;

export interface Health {
  ready: boolean;
  /** Why not, in words; empty when ready. */
  reasons: string[];
}

/** Watches whether a worker gets on with its queue, not whether it can be pinged. */
export class Progress {
  readonly #worker: Worker;
  readonly #parts: Parts;
  #lastMove = Date.now();

  constructor(worker: Worker, parts: Parts) {
    this.#worker = worker;
    this.#parts = parts;
    for (const event of ['active', 'completed', 'failed'] as const)
      worker.on(event, () => (this.#lastMove = Date.now()));
  }

  async check(now = Date.now()): Promise<Health> {
    const reasons: string[] = [];
    if (!this.#worker.isRunning()) reasons.push('the worker does not run');
    const waiting = this.#parts.queue(this.#worker.name as never).getWaitingCount();
    const answer = await Promise.race([waiting.catch(messageOf), timeout(ANSWER_MS)]);
    if (typeof answer !== 'number') reasons.push(`Redis does not answer: ${answer}`);
    else if (answer > 0 && now - this.#lastMove > STUCK_MS) {
      reasons.push(`${answer} jobs are waiting and none has moved for ${Math.round((now - this.#lastMove) / 1000)} s`);
    }
    return { ready: reasons.length === 0, reasons };
  }
}

function timeout(ms: number): Promise<string> {
  return new Promise((resolve) => setTimeout(resolve, ms, `nothing within ${ms} ms`).unref());
}

/** `GET /health/live` answers while the process runs; `GET /health/ready` 200 or 503 with the reasons. */
export function createHealthServer(progress: Progress): FastifyInstance {
  const server = fastify();
  server.get('/health/live', () => ({ live: true }));
  server.get('/health/ready', async (_request, reply) => {
    const health = await progress.check();
    return reply.code(health.ready ? 200 : 503).send(health);
  });
  return server;
}
