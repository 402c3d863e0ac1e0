import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { MemoryCore } from '../../../producers/index.ts';
import { askedReflection, reflectionIndex, trace } from '../../wire/answers.ts';
import { FOR_USERS } from '../../web/permission.ts';
import { operation } from '../operation.ts';
import { LINK, nextLink } from '../../wire/paging.ts';
import { scoped } from './read-routes.ts';
import { reflectionRequestBody, reflectionsQuery, tracePath, traceQuery } from '../../wire/requests.ts';
import { toSnake } from '../../wire/snake-case.ts';

/** `POST /memory/reflection/request`, `GET /memory/reflections` and `/memory/trace/…`. */
export function addProvenanceRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const outages = ['redis_unavailable', 'timeout'] as const;
  server.post(
    '/memory/reflection/request',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'requestReflection',
        summary: "Ask the reflector for a reflection now, of a user's turns or of everybody's",
        description: 'One waits for each user of a conversation: a request that was not begun yet is replaced.',
        tag: 'reflections',
        parts: { body: reflectionRequestBody },
        answers: { 202: { schema: askedReflection, description: 'Redis has the request.' } },
        problems: ['erased', 'redis_full', ...outages],
      }),
    },
    async (request, reply) => {
      const asked = await memory.requestReflection(scoped(request, request.body) as never);
      return reply.code(202).send(toSnake(asked));
    },
  );
  server.get(
    '/memory/reflections',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'listReflections',
        summary: 'Reflections, fine-tune outputs and knowledge of all conversations, newest first, page by page',
        tag: 'reflections',
        parts: { querystring: reflectionsQuery },
        answers: { 200: { schema: reflectionIndex, description: 'A page.', headers: LINK } },
        problems: outages,
      }),
    },
    async (request, reply) => {
      const page = await memory.listReflections(scoped(request, request.query));
      nextLink(request, reply, page.nextCursor);
      return toSnake(page);
    },
  );
  server.get(
    '/memory/trace/:reflection',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'traceReflection',
        summary: 'Where a reflection comes from: its sources, the reflection before it, and so on',
        description: 'What is gone, after an erasure say, is marked as missing.',
        tag: 'reflections',
        parts: { params: tracePath, querystring: traceQuery },
        answers: { 200: { schema: trace, description: 'A page of the chain, newest first.', headers: LINK } },
        problems: ['not_found', ...outages],
      }),
    },
    async (request, reply) => {
      const page = await memory.traceReflection(request.params.reflection, scoped(request, request.query));
      nextLink(request, reply, page.nextCursor);
      return toSnake(page);
    },
  );
}
