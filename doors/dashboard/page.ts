import type { Queue } from 'bullmq';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Config } from '../../shared/settings/variables.ts';
import { isError } from '../../shared/errors.ts';
import { identifier, recordId } from '../../shared/identifiers.ts';
import { cutPieces } from '../../shared/records/token-pieces.ts';
import type { Encoding } from '../../shared/records/tokenizer.ts';
import { validate } from '../../shared/validate.ts';
import type { Authenticator } from '../web/auth.ts';
import { callerOf } from '../web/guard.ts';
import { FOR_USERS } from '../web/permission.ts';
import { sendProblem } from '../web/problem.ts';
import { registerMemoryRoutes } from '../http/server.ts';
import type { MemoryCore } from '../../producers/memory-core.ts';
import { listFlushes } from './flush-history.ts';
import { scopeOf } from './door.ts';
import { servePageFiles } from './page-files.ts';
import { findQueued } from './queued-records.ts';

/** The most statuses in one answer: each of them takes a few commands of Redis. */
const MOST_STATUSES = 100;
/** The most tokens of one part that are cut into pieces at once: a person looks at them. */
const MOST_TOKENS = 2_000;
/** No character consists of more tokens than this, so within them a piece always ends. */
const SLACK = 64;
const FLUSHES = 12;

const statusesQuery = z.strictObject({ ids: z.string().transform((ids) => ids.split(',')) });
const ids = z.array(recordId).max(MOST_STATUSES);
const queuedQuery = z.strictObject({ context_id: identifier });
const piecesQuery = z.strictObject({
  part: z.enum(['user', 'assistant', 'text']).optional(),
  from: z.coerce.number().int().min(0).default(0),
});

/** Adds the memory page, the API from which it reads, and the few answers that only the page needs. */
export async function registerPage(
  server: FastifyInstance,
  memory: MemoryCore,
  queues: readonly Queue[],
  authenticator: Authenticator,
  config: Config,
): Promise<void> {
  const queue = (name: string) => queues.filter((each) => each.name === name);
  await server.register(async (scope) => registerMemoryRoutes(scope, { memory, authenticator, config }));
  await server.register(servePageFiles);
  await server.register(async (page) => {
    page.setErrorHandler(sendProblem);
    page.addHook('onSend', async (_request, reply) => void reply.header('cache-control', 'no-store'));
    page.get('/page/of/caller', FOR_USERS, async (request) => ({
      name: callerOf(request).name,
      user_id: callerOf(request).userId,
      read_only: config.dashboardReadOnly,
      can_verify: config.ipfsApiUrl !== undefined,
      has_events: page.hasRoute({ method: 'GET', url: '/memory/events' }),
    }));
    page.get('/page/of/statuses', FOR_USERS, async (request) => {
      const given = validate(statusesQuery, request.query, 'the query');
      return { items: await statusesOf(memory, validate(ids, given.ids, 'ids'), scopeOf(request)) };
    });
    page.get('/page/of/queued', FOR_USERS, async (request) => {
      const { context_id: contextId } = validate(queuedQuery, request.query, 'the query');
      const records = await findQueued([...queue('chat'), ...queue('reflection')], contextId, callerOf(request).userId);
      return { items: records };
    });
    page.get('/page/of/pieces/:id', FOR_USERS, async (request) => piecesOf(memory, request));
    page.get('/page/of/flushes', async () => {
      const [flush] = queue('flush');
      return { items: flush ? await listFlushes(flush, FLUSHES) : [] };
    });
  });
}

/** Gives the statuses of the records that exist and that the caller may see. The others are left out. */
async function statusesOf(memory: MemoryCore, ids: readonly string[], scope: { userId?: string }) {
  const statuses = await Promise.all(
    ids.map(async (id) => {
      try {
        const { status, reason, cid, queuedAt, cachedAt, pinnedAt } = await memory.getStatus(id, scope);
        return { id, status, reason, cid, queued_at: queuedAt, cached_at: cachedAt, pinned_at: pinnedAt };
      } catch (error) {
        if (isError(error, 'not_found')) return null;
        throw error;
      }
    }),
  );
  return statuses.filter((status) => status !== null);
}

async function piecesOf(memory: MemoryCore, request: FastifyRequest) {
  const { id } = validate(z.object({ id: recordId }), request.params, 'the path');
  const { part: wanted, from } = validate(piecesQuery, request.query, 'the query');
  const { tokens } = await memory.inspect(id, scopeOf(request));
  const { id: _id, encoding, ...arrays } = tokens;
  const parts = Object.entries(arrays)
    .filter(([name]) => wanted === undefined || name === wanted)
    .map(([name, all]) => ({ name, token_count: all.length, ...firstPieces(all, from, encoding) }));
  return { id, encoding, parts };
}

/**
 * Gives the pieces that begin at token `from`, about MOST_TOKENS tokens, without ever cutting a character. `next` is the token
 * at which the rest begins.
 */
function firstPieces(all: readonly number[], from: number, encoding: Encoding) {
  const cut = cutPieces(all.slice(from, from + MOST_TOKENS + SLACK), encoding);
  let next = from;
  const end = cut.findIndex(({ ids }) => (next += ids.length) - from >= MOST_TOKENS);
  return { from, pieces: end === -1 ? cut : cut.slice(0, end + 1), next: next < all.length ? next : null };
}
