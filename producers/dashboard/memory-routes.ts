import type { FastifyInstance, FastifyRequest } from 'fastify';
import { MnemoqError } from '../../shared/errors.ts';
import { requireService } from '../auth.ts';
import type { MemoryCore } from '../memory-core.ts';
import { callerOf, scopeOf } from './door.ts';

interface Asked {
  Params: { id: string };
  Querystring: Record<string, string | undefined>;
}

const STATUSES: Record<string, number> = { invalid_input: 400, forbidden: 403, not_found: 404, timeout: 504 };

/** What the page reads of the HTTP API, by the same names. */
export async function registerMemoryRoutes(server: FastifyInstance, memory: MemoryCore): Promise<void> {
  server.setErrorHandler((error, _request, reply) => {
    const known = error instanceof MnemoqError;
    const code = known ? error.code : 'internal';
    const status = STATUSES[code] ?? (known ? 503 : 500);
    const detail = known ? error.message : 'something went wrong that nobody foresaw';
    return reply.code(status).type('application/problem+json').send({ title: code, status, detail, code });
  });
  server.get<Asked>('/memory/conversations', async (request) => {
    const { prefix, limit } = request.query;
    const options = { ...(prefix !== undefined && { prefix }), ...limited(limit), ...scopeOf(request) };
    return toSnake(await memory.listConversations(options));
  });
  server.get<Asked>('/memory/context/:id/recent', async (request) =>
    toSnake(
      await memory.loadRecentContext(request.params.id, { ...limited(request.query['limit']), ...scopeOf(request) }),
    ),
  );
  server.get<Asked>('/memory/reflections/:id', async (request) => ({
    context_id: request.params.id,
    reflections: toSnake(await memory.getReflections(request.params.id, scopeOf(request))),
  }));
  server.get<Asked>('/memory/verify/:id', async (request) =>
    toSnake(await memory.verify(request.params.id, scopeOf(request))),
  );
  server.get<Asked>('/memory/trends', async (request) => toSnake(await memory.getTrends(trendsOf(request))));
  server.get('/memory/stats', async (request) => {
    requireService(callerOf(request));
    return toSnake(await memory.getStats());
  });
  server.post('/memory/flush', async (request) => {
    requireService(callerOf(request));
    return toSnake(await memory.flushRedisToSupabase());
  });
}

function limited(limit: string | undefined) {
  return limit === undefined ? {} : { limit: Number(limit) };
}

function trendsOf(request: FastifyRequest<Asked>) {
  const { context_id: contextId = '', from = '', to = '', bucket, time_zone: timeZone = 'UTC' } = request.query;
  return { contextId, from, to, bucket: bucket as 'day', timeZone, ...scopeOf(request) };
}

function toSnake(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toSnake);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      toSnake(each),
    ]),
  );
}
