import type { MemoryCore } from '../../../producers/index.ts';
import { newestCid, reflectionPage, verification } from '../../wire/answers/reflections.ts';
import { cidPath, contextPath, conversationReflectionsQuery, scopeQuery } from '../../wire/requests.ts';
import { READ_PROBLEMS } from '../operation.ts';
import { type Route, route } from '../route.ts';

/** `GET /memory/reflections/…` of one conversation, and `GET /memory/verify/…`. */
export function reflectionRoutes(memory: MemoryCore): Route[] {
  return [
    route({
      at: 'GET /memory/reflections/:context_id',
      permission: 'users',
      id: 'getReflections',
      summary: "A conversation's reflections, newest first, with CID, digest and signature, page by page",
      tag: 'reflections',
      parts: { params: contextPath, querystring: conversationReflectionsQuery },
      answers: { 200: { schema: reflectionPage, description: 'A page.' } },
      pages: true,
      problems: READ_PROBLEMS,
      call: async ({ params, query }) => memory.getReflections(params.contextId, query),
    }),
    route({
      at: 'GET /memory/reflections/:context_id/cid',
      permission: 'users',
      id: 'getReflectionCid',
      summary: "The CID of a conversation's newest pinned reflection",
      tag: 'reflections',
      parts: { params: contextPath, querystring: scopeQuery },
      answers: { 200: { schema: newestCid, description: 'The CID, or null where none is pinned.' } },
      problems: READ_PROBLEMS,
      call: async ({ params: { contextId }, query }) => ({
        contextId,
        cid: await memory.getReflectionCid(contextId, query),
      }),
    }),
    route({
      at: 'GET /memory/verify/:cid',
      permission: 'users',
      id: 'verify',
      summary: 'Check a pinned text from its CID to its row and its tokens',
      tag: 'reflections',
      parts: { params: cidPath, querystring: scopeQuery },
      answers: { 200: { schema: verification, description: 'Every check, and whether it holds.' } },
      problems: ['not_found', 'invalid_configuration', ...READ_PROBLEMS],
      call: async ({ params, query }) => memory.verify(params.cid, query),
    }),
  ];
}
