import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { Queue } from 'bullmq';
import type { FastifyInstance } from 'fastify';
import { redact } from './redaction.ts';

/** Where the board is. */
export const BOARD_PATH = '/queues';

/**
 * What the board may do besides looking, by Bull Board's own routes. Nothing that changes, adds or removes jobs: their data
 * is shown without text, so saving it back would destroy it, and an emptied queue is lost memory.
 */
export const BOARD_ACTIONS = [
  'PUT /api/queues/pause',
  'PUT /api/queues/resume',
  'PUT /api/queues/:queueName/pause',
  'PUT /api/queues/:queueName/resume',
  'PUT /api/queues/:queueName/promote',
  'PUT /api/queues/:queueName/retry/:queueStatus',
  'PUT /api/queues/:queueName/:jobId/promote',
  'PUT /api/queues/:queueName/:jobId/retry',
].map((route) => route.replace(' ', ` ${BOARD_PATH}`));

export interface BoardOptions {
  /** No action at all. */
  readOnly: boolean;
  /** Shows the texts in the data of jobs. */
  showText: boolean;
  /** Whether there is a memory page to lead back to. */
  hasPage: boolean;
}

/** Bull Board over these queues, without the text in their jobs unless told otherwise. */
export async function registerBoard(
  server: FastifyInstance,
  queues: readonly Queue[],
  { readOnly, showText, hasPage }: BoardOptions,
): Promise<void> {
  const serverAdapter = new FastifyAdapter();
  const adapters = queues.map((queue) => {
    const adapter = new BullMQAdapter(queue, { readOnlyMode: readOnly });
    if (!showText) adapter.setFormatter('data', (data: unknown) => redact(data));
    return adapter;
  });
  const miscLinks = hasPage ? [{ text: 'Memory page', url: '/' }] : [];
  createBullBoard({
    queues: adapters,
    serverAdapter,
    options: { uiConfig: { boardTitle: 'Mnemoq', miscLinks } },
  });
  await server.register(serverAdapter.registerPlugin(), { prefix: BOARD_PATH });
}
