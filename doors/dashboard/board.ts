import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { Queue } from 'bullmq';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { callerOf } from '../web/guard.ts';
import { refuse } from './door.ts';
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

/** Bull Board's page asks another host for fonts. Who looks at these queues, and when, is nobody else's business. */
const POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'";

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
  await server.register(async (board) => {
    board.addHook('onRequest', letServicesIn);
    await board.register(serverAdapter.registerPlugin(), { prefix: BOARD_PATH });
  });
}

/** The hook stands in the board's own scope, so it is a matter of the route that was found and not of how its address is written. */
async function letServicesIn(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  reply.header('content-security-policy', POLICY);
  if (callerOf(request).userId === null) return undefined;
  return refuse(reply, 403, 'FORBIDDEN', 'the queues hold the jobs of all users: they are for services');
}
