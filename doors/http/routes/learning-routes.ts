import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { MemoryCore } from '../../../producers/index.ts';
import { conversationPage, knowledgePage, searchResult, trends } from '../../wire/answers.ts';
import { FOR_USERS } from '../../web/permission.ts';
import { operation } from '../operation.ts';
import { LINK, nextLink } from '../../wire/paging.ts';
import { scoped } from './read-routes.ts';
import { conversationsQuery, exportQuery, knowledgeQuery, searchQuery, trendsQuery } from '../../wire/requests.ts';
import { toSnake } from '../../wire/snake-case.ts';

const NDJSON = 'application/x-ndjson';

/** `GET /memory/conversations`, `/memory/knowledge`, `/memory/search`, `/memory/trends` and `/memory/export`. */
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
  server.get(
    '/memory/export',
    {
      exposeHeadRoute: false,
      ...FOR_USERS,
      schema: operation({
        id: 'exportTrainingData',
        summary: 'Committed records as JSON lines, oldest first, for training',
        description: 'A connection that ends without its last chunk is an export that broke off: begin it again.',
        tag: 'learning',
        parts: { querystring: exportQuery },
        answers: {
          200: { schema: z.string().describe('A JSON object a line.'), description: 'All of them.', type: NDJSON },
        },
        problems: ['key_missing', ...outages],
      }),
    },
    async (request, reply) => {
      const lines = memory.exportTrainingData({ ...scoped(request, request.query) } as never)[Symbol.asyncIterator]();
      const first = await lines.next(); // what fails before it is still answered as a problem
      // Its error, or a client that goes away, destroys the connection and ends the reading.
      return reply.type(NDJSON).send(Readable.from(withLineEnds(first, lines)));
    },
  );
}

async function* withLineEnds(first: IteratorResult<string>, rest: AsyncIterator<string>): AsyncGenerator<string> {
  try {
    for (let next = first; !next.done; next = await rest.next()) yield `${next.value}\n`;
  } finally {
    await rest.return?.();
  }
}
