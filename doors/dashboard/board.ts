import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { Queue } from 'bullmq';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { callerOf } from '../web/guard.ts';
import { refuse } from './door.ts';
import { redact } from './redaction.ts';

/** The path of the board. */
export const BOARD_PATH = '/queues';

/**
 * The routes of Bull Board that change something and are allowed. Routes that change, add or remove jobs are not among them: the
 * board shows the data of a job without its texts, so saving that data back would destroy them, and a queue that is emptied is
 * memory that is lost.
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

/** Bull Board's page asks another host for fonts. Who looks at these queues, and when, is nobody else's business. */
const POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'";

export interface BoardOptions {
  /** No changes are allowed. */
  readOnly: boolean;
  /** The texts in the data of jobs are shown. */
  showText: boolean;
  /** There is a memory page, to which the board links. */
  hasPage: boolean;
}

/** Adds Bull Board for these queues. It shows the texts in their jobs only when it is told to. */
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
  await server.register(async (board) => {
    board.addHook('onRequest', letServicesIn);
    await board.register(serverAdapter.registerPlugin(), { prefix: BOARD_PATH });
  });
}

/** A hook of the board's own scope, so it runs for each route of the board, however the address of the request was written. */
async function letServicesIn(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  reply.header('content-security-policy', POLICY);
  if (callerOf(request).userId === null) return undefined;
  return refuse(reply, 403, 'FORBIDDEN', 'the queues hold the jobs of all users: they are for services');
}
