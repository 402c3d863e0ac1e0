import type { MemoryCore } from '../../../producers/index.ts';
import { askedReflection, reflectionIndex, trace } from '../../wire/answers/reflections.ts';
import { reflectionRequestBody, reflectionsQuery, tracePath, traceQuery } from '../../wire/requests.ts';
import { READ_PROBLEMS } from '../operation.ts';
import { type Route, route } from '../route.ts';

/** `POST /memory/reflection/request`, `GET /memory/reflections` and `/memory/trace/…`. */
export function provenanceRoutes(memory: MemoryCore): Route[] {
  return [
    route({
      at: 'POST /memory/reflection/request',
      permission: 'users',
      id: 'requestReflection',
      summary: "Ask the reflector for a reflection now, of a user's turns or of everybody's",
      description: 'One waits for each user of a conversation: a request that was not begun yet is replaced.',
      tag: 'reflections',
      parts: { body: reflectionRequestBody },
      answers: { 202: { schema: askedReflection, description: 'Redis has the request.' } },
      problems: ['erased', 'redis_full', ...READ_PROBLEMS],
      call: async ({ body }, { reply }) => {
        const asked = await memory.requestReflection(body);
        reply.code(202);
        return asked;
      },
    }),
    route({
      at: 'GET /memory/reflections',
      permission: 'users',
      id: 'listReflections',
      summary: 'Reflections, fine-tune outputs and knowledge of all conversations, newest first, page by page',
      tag: 'reflections',
      parts: { querystring: reflectionsQuery },
      answers: { 200: { schema: reflectionIndex, description: 'A page.' } },
      pages: true,
      problems: READ_PROBLEMS,
      call: async ({ query }) => memory.listReflections(query),
    }),
    route({
      at: 'GET /memory/trace/:reflection',
      permission: 'users',
      id: 'traceReflection',
      summary: 'Where a reflection comes from: its sources, the reflection before it, and so on',
      description: 'What is gone, after an erasure say, is marked as missing.',
      tag: 'reflections',
      parts: { params: tracePath, querystring: traceQuery },
      answers: { 200: { schema: trace, description: 'A page of the chain, newest first.' } },
      pages: true,
      problems: ['not_found', ...READ_PROBLEMS],
      call: async ({ params, query }) => memory.traceReflection(params.reflection, query),
    }),
  ];
}
