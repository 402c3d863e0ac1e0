import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { MemoryCore } from '../../../producers/index.ts';
import { conversationPage, knowledgePage, searchResult, trends } from '../../wire/answers.ts';
import { FOR_USERS } from '../../web/permission.ts';
import { operation } from '../operation.ts';
import { LINK, nextLink } from '../../wire/paging.ts';
import { scoped } from './read-routes.ts';
import { conversationsQuery, knowledgeQuery, searchQuery, trendsQuery } from '../../wire/requests.ts';
import { toSnake } from '../../wire/snake-case.ts';

/** `GET /memory/conversations`, `/memory/knowledge`, `/memory/search` and `/memory/trends`. */
export function addLearningRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const outages = ['redis_unavailable', 'timeout'] as const;
  server.get(
    '/memory/conversations',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'listConversations',
        summary: 'The conversations whose id begins with a prefix, page by page',
        tag: 'reading',
        parts: { querystring: conversationsQuery },
        answers: { 200: { schema: conversationPage, description: 'A page.', headers: LINK } },
        problems: outages,
      }),
    },
    async (request, reply) => {
      const page = await memory.listConversations(scoped(request, request.query));
      nextLink(request, reply, page.nextCursor);
      return toSnake(page);
    },
  );
  server.get(
    '/memory/knowledge',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'listKnowledge',
        summary: 'What was shared as public, newest first, page by page',
        tag: 'learning',
        parts: { querystring: knowledgeQuery },
        answers: { 200: { schema: knowledgePage, description: 'A page.', headers: LINK } },
        problems: ['key_missing', ...outages],
      }),
    },
    async (request, reply) => {
      const page = await memory.listKnowledge(scoped(request, request.query));
      nextLink(request, reply, page.nextCursor);
      return toSnake(page);
    },
  );
  server.get(
    '/memory/search',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'search',
        summary: 'The records that have most of some words, best first, uncommitted ones too',
        tag: 'reading',
        parts: { querystring: searchQuery },
        answers: { 200: { schema: searchResult, description: 'What was found; empty where nothing was.' } },
        problems: ['invalid_configuration', ...outages],
      }),
    },
    async (request) => toSnake(await memory.search(scoped(request, request.query) as never)),
  );
  server.get(
    '/memory/trends',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'getTrends',
        summary: 'Turns, tokens and reflections of committed records by hour, day or week',
        tag: 'learning',
        parts: { querystring: trendsQuery },
        answers: { 200: { schema: trends, description: 'The buckets that have records.' } },
        problems: outages,
      }),
    },
    async (request) => toSnake(await memory.getTrends({ ...scoped(request, request.query) } as never)),
  );
}
