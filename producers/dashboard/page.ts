import type { Queue } from 'bullmq';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Config } from '../../shared/config.ts';
import { isError, MnemoqError } from '../../shared/errors.ts';
import { identifier, recordId } from '../../shared/records.ts';
import { cutPieces } from '../../shared/token-pieces.ts';
import type { Encoding } from '../../shared/tokenizer.ts';
import { validate } from '../../shared/validate.ts';
import type { MemoryCore } from '../memory-core.ts';
import { listFlushes } from './flush-history.ts';
import { registerInterimRoutes } from './interim-routes.ts';
import { servePageFiles } from './page-files.ts';
import { findQueued } from './queued-records.ts';

/** Statuses told at once: each takes a few commands of Redis. */
const MOST_STATUSES = 100;
/** Tokens of one part cut into pieces at once: a person looks at them. */
const MOST_TOKENS = 2_000;
/** More tokens than a character's end is ever away. */
const SLACK = 64;
const FLUSHES = 12;

const statusesQuery = z.strictObject({ ids: z.string().transform((ids) => ids.split(',')) });
const ids = z.array(recordId).max(MOST_STATUSES);
const queuedQuery = z.strictObject({ context_id: identifier });
const piecesQuery = z.strictObject({
  part: z.enum(['user', 'assistant', 'text']).optional(),
  from: z.coerce.number().int().min(0).default(0),
});

/** The memory page, the API it reads from, and the few answers nobody but the page needs. */
export async function registerPage(
  server: FastifyInstance,
  memory: MemoryCore,
  queues: readonly Queue[],
  config: Config,
): Promise<void> {
  const queue = (name: string) => queues.filter((each) => each.name === name);
  await server.register(async (page) => {
    page.addHook('onSend', async (request, reply) => {
      if (request.url.startsWith('/memory') || request.url.startsWith('/page/of/')) reply.header('cache-control', 'no-store');
    });
    await servePageFiles(page);
    await registerInterimRoutes(page, memory);
    page.get('/page/of/caller', async ({ caller }) => ({
      name: caller.name,
      user_id: caller.userId,
      read_only: config.dashboardReadOnly,
      can_verify: config.ipfsApiUrl !== undefined,
    }));
    page.get('/page/of/statuses', async (request) => {
      const given = validate(statusesQuery, request.query, 'the query');
      return { statuses: await statusesOf(memory, validate(ids, given.ids, 'ids'), request) };
    });
    page.get('/page/of/queued', async ({ query, caller }) => {
      const { context_id: contextId } = validate(queuedQuery, query, 'the query');
      return { records: await findQueued([...queue('chat'), ...queue('reflection')], contextId, caller.userId) };
    });
    page.get('/page/of/pieces/:id', async (request) => pieces(memory, request));
    page.get('/page/of/flushes', async ({ caller }, reply) => {
      if (caller.userId !== null) return reply.code(403).send({ title: 'flushes are for services', status: 403 });
      const [flush] = queue('flush');
      return { flushes: flush ? await listFlushes(flush, FLUSHES) : [] };
    });
  });
}

/** Of those that are there and the caller's; the others are left out. */
async function statusesOf(memory: MemoryCore, ids: readonly string[], request: FastifyRequest) {
  const statuses = await Promise.all(
    ids.map(async (id) => {
      try {
        await refuseForeign(memory, id, request);
        const { status, reason, cid, queuedAt, cachedAt, pinnedAt } = await memory.getStatus(id);
        return { id, status, reason, cid, queued_at: queuedAt, cached_at: cachedAt, pinned_at: pinnedAt };
      } catch (error) {
        if (isError(error, 'not_found')) return null;
        throw error;
      }
    }),
  );
  return statuses.filter((status) => status !== null);
}

async function refuseForeign(memory: MemoryCore, id: string, { caller }: FastifyRequest): Promise<void> {
  if (caller.userId === null) return;
  const { record } = await memory.inspect(id);
  if (record.userId !== caller.userId) throw new MnemoqError('not_found', `no record with id ${id}`);
}

async function pieces(memory: MemoryCore, request: FastifyRequest) {
  const { id } = validate(z.object({ id: recordId }), request.params, 'the path');
  const { part: wanted, from } = validate(piecesQuery, request.query, 'the query');
  await refuseForeign(memory, id, request);
  const { tokens } = await memory.inspect(id);
  const { id: _id, encoding, ...arrays } = tokens;
  const parts = Object.entries(arrays)
    .filter(([name]) => wanted === undefined || name === wanted)
    .map(([name, all]) => ({ name, token_count: all.length, ...firstPieces(all, from, encoding) }));
  return { id, encoding, parts };
}

/** The pieces from a token on, about MOST_TOKENS of them but never half a character; `next` is where the rest begins. */
function firstPieces(all: readonly number[], from: number, encoding: Encoding) {
  const cut = cutPieces(all.slice(from, from + MOST_TOKENS + SLACK), encoding);
  let next = from;
  const end = cut.findIndex(({ ids }) => (next += ids.length) - from >= MOST_TOKENS);
  return { from, pieces: end === -1 ? cut : cut.slice(0, end + 1), next: next < all.length ? next : null };
}
