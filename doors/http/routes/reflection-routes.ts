import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { MemoryCore } from '../../../producers/index.ts';
import { FOR_USERS } from '../../web/permission.ts';
import { newestCid, reflectionPage, verification } from '../../wire/answers.ts';
import { LINK, nextLink } from '../../wire/paging.ts';
import { cidPath, contextPath, conversationReflectionsQuery, scopeQuery } from '../../wire/requests.ts';
import { toSnake } from '../../wire/snake-case.ts';
import { operation } from '../operation.ts';
import { scoped } from './read-routes.ts';

/** `GET /memory/reflections/:context_id`, its `/cid` and `/memory/verify/:cid`. */
export function addReflectionRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const outages = ['redis_unavailable', 'timeout'] as const;
  server.get(
    '/memory/reflections/:context_id',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'getReflections',
        summary: "A conversation's reflections, newest first, with CID, digest and signature, page by page",
        tag: 'reflections',
        parts: { params: contextPath, querystring: conversationReflectionsQuery },
        answers: { 200: { schema: reflectionPage, description: 'A page.', headers: LINK } },
        problems: outages,
      }),
    },
    async (request, reply) => {
      const page = await memory.getReflections(request.params.context_id, scoped(request, request.query));
      nextLink(request, reply, page.nextCursor);
      return toSnake(page);
    },
  );
  server.get(
    '/memory/reflections/:context_id/cid',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'getReflectionCid',
        summary: "The CID of a conversation's newest pinned reflection",
        tag: 'reflections',
        parts: { params: contextPath, querystring: scopeQuery },
        answers: { 200: { schema: newestCid, description: 'The CID, or null where none is pinned.' } },
        problems: outages,
      }),
    },
    async (request) => {
      const { context_id } = request.params;
      return { context_id, cid: await memory.getReflectionCid(context_id, scoped(request, request.query)) };
    },
  );
  server.get(
    '/memory/verify/:cid',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'verify',
        summary: 'Check a pinned text from its CID to its row and its tokens',
        tag: 'reflections',
        parts: { params: cidPath, querystring: scopeQuery },
        answers: { 200: { schema: verification, description: 'Every check, and whether it holds.' } },
        problems: ['not_found', 'invalid_configuration', ...outages],
      }),
    },
    async (request) => toSnake(await memory.verify(request.params.cid, scoped(request, request.query))),
  );
}
