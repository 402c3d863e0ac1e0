import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { MemoryCore } from '../index.ts';
import { reflectionPage, trace } from './answers.ts';
import { operation } from './operation.ts';
import { LINK, nextLink } from './paging.ts';
import { scoped } from './read-routes.ts';
import { reflectionsQuery, tracePath, traceQuery } from './requests.ts';
import { toSnake } from './snake-case.ts';

/** `GET /memory/reflections` and `/memory/trace/…`. */
export function addProvenanceRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const outages = ['redis_unavailable', 'timeout'] as const;
  server.get(
    '/memory/reflections',
    {
      schema: operation({
        id: 'listReflections',
        summary: 'Reflections, fine-tune outputs and knowledge of all conversations, newest first, page by page',
        tag: 'reflections',
        parts: { querystring: reflectionsQuery },
        answers: { 200: { schema: reflectionPage, description: 'A page.', headers: LINK } },
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
      schema: operation({
        id: 'traceReflection',
        summary: 'Where a reflection comes from: its sources, the reflection before it, and so on',
        description: 'What is gone, after an erasure say, is marked as missing.',
        tag: 'reflections',
        parts: { params: tracePath, querystring: traceQuery },
        answers: { 200: { schema: trace, description: 'The chain, newest first.' } },
        problems: ['not_found', ...outages],
      }),
    },
    async (request) => toSnake(await memory.traceReflection(request.params.reflection, scoped(request, request.query))),
  );
}
