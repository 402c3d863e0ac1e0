/**
 * **doors/http/routes/**: the routes of the HTTP API, by what the caller wants. A route checks who asks, calls
 * `MemoryCore` and puts the answer into its wire form.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { userFor } from '../../web/auth.ts';
import type { MemoryCore } from '../../../producers/index.ts';
import { contextPage, inspection, recentContext, recordStatus } from '../../wire/answers.ts';
import { callerOf } from '../../web/guard.ts';
import { FOR_USERS } from '../../web/permission.ts';
import { operation } from '../operation.ts';
import { LINK, nextLink } from '../../wire/paging.ts';
import { contextPath, pageQuery, recentQuery, recordPath, scopeQuery } from '../../wire/requests.ts';
import { toCamel, toSnake } from '../../wire/snake-case.ts';

/** The query with the user the caller may see: nobody else's records are found, by whatever id. */
export function scoped(request: FastifyRequest, query: object) {
  const { userId: named, ...options } = toCamel(query) as { userId?: string };
  const userId = userFor(callerOf(request), named);
  return { ...options, ...(userId !== undefined && { userId }) };
}

/** `GET /memory/context/…` and `/memory/records/…`. */
export function addReadRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const outages = ['redis_unavailable', 'timeout'] as const;
  server.get(
    '/memory/context/:context_id',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'getMemoryContext',
        summary: 'A whole conversation, page by page, oldest first',
        tag: 'reading',
        parts: { params: contextPath, querystring: pageQuery },
        answers: { 200: { schema: contextPage, description: 'A page; empty where nothing was saved.', headers: LINK } },
        problems: ['key_missing', ...outages],
      }),
    },
    async (request, reply) => {
      const page = await memory.getMemoryContext(request.params.context_id, scoped(request, request.query));
      nextLink(request, reply, page.nextCursor);
      return toSnake(page);
    },
  );
  server.get(
    '/memory/context/:context_id/recent',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'loadRecentContext',
        summary: 'The newest records that fit a limit and a token budget, oldest first',
        tag: 'reading',
        parts: { params: contextPath, querystring: recentQuery },
        answers: { 200: { schema: recentContext, description: 'What fits; empty where nothing was saved.' } },
        problems: ['key_missing', ...outages],
      }),
    },
    async (request) =>
      toSnake(await memory.loadRecentContext(request.params.context_id, scoped(request, request.query))),
  );
  server.get(
    '/memory/records/:id',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'inspect',
        summary: 'A record with its text and its token ids',
        tag: 'reading',
        parts: { params: recordPath, querystring: scopeQuery },
        answers: { 200: { schema: inspection, description: 'The record.' } },
        problems: ['not_found', 'key_missing', ...outages],
      }),
    },
    async (request) => toSnake(await memory.inspect(request.params.id, scoped(request, request.query))),
  );
  server.get(
    '/memory/records/:id/status',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'getStatus',
        summary: 'How far a record has come',
        tag: 'saving',
        parts: { params: recordPath, querystring: scopeQuery },
        answers: { 200: { schema: recordStatus, description: 'Its state, with times and reason.' } },
        problems: ['not_found', ...outages],
      }),
    },
    async (request) => toSnake(await memory.getStatus(request.params.id, scoped(request, request.query))),
  );
}
