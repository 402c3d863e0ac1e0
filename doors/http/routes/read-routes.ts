/**
 * **doors/http/routes/**: the routes of the HTTP API, by what the caller wants. A route says who may use it, calls
 * `MemoryCore` and puts the answer into its wire form.
 */
import type { MemoryCore } from '../../../producers/index.ts';
import { contextPage, inspection, recentContext, recordStatus } from '../../wire/answers/records.ts';
import { contextPath, pageQuery, recentQuery, recordPath, scopeQuery } from '../../wire/requests.ts';
import { READ_PROBLEMS } from '../operation.ts';
import { type Route, route } from '../route.ts';

/** `GET /memory/context/…` and `/memory/records/…`. */
export function readRoutes(memory: MemoryCore): Route[] {
  return [
    route({
      at: 'GET /memory/context/:context_id',
      permission: 'users',
      id: 'getMemoryContext',
      summary: 'A whole conversation, page by page, oldest first',
      tag: 'reading',
      parts: { params: contextPath, querystring: pageQuery },
      answers: { 200: { schema: contextPage, description: 'A page; empty where nothing was saved.' } },
      pages: true,
      problems: ['key_missing', ...READ_PROBLEMS],
      call: async ({ params, query }) => memory.getMemoryContext(params.contextId, query),
    }),
    route({
      at: 'GET /memory/context/:context_id/recent',
      permission: 'users',
      id: 'loadRecentContext',
      summary: 'The newest records that fit a limit and a token budget, oldest first',
      tag: 'reading',
      parts: { params: contextPath, querystring: recentQuery },
      answers: { 200: { schema: recentContext, description: 'What fits; empty where nothing was saved.' } },
      problems: ['key_missing', ...READ_PROBLEMS],
      call: async ({ params, query }) => memory.loadRecentContext(params.contextId, query),
    }),
    route({
      at: 'GET /memory/records/:id',
      permission: 'users',
      id: 'inspect',
      summary: 'A record with its text and its token ids',
      tag: 'reading',
      parts: { params: recordPath, querystring: scopeQuery },
      answers: { 200: { schema: inspection, description: 'The record.' } },
      problems: ['not_found', 'key_missing', ...READ_PROBLEMS],
      call: async ({ params, query }) => memory.inspect(params.id, query),
    }),
    route({
      at: 'GET /memory/records/:id/status',
      permission: 'users',
      id: 'getStatus',
      summary: 'How far a record has come',
      tag: 'saving',
      parts: { params: recordPath, querystring: scopeQuery },
      answers: { 200: { schema: recordStatus, description: 'Its state, with times and reason.' } },
      problems: ['not_found', ...READ_PROBLEMS],
      call: async ({ params, query }) => memory.getStatus(params.id, query),
    }),
  ];
}
