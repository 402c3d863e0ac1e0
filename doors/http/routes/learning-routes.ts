import type { MemoryCore } from '../../../producers/index.ts';
import { conversationPage, searchResult, trends } from '../../wire/answers/questions.ts';
import { knowledgePage } from '../../wire/answers/reflections.ts';
import { conversationsQuery, knowledgeQuery, searchQuery, trendsQuery } from '../../wire/requests.ts';
import { READ_PROBLEMS } from '../operation.ts';
import { type Route, route } from '../route.ts';

/** `GET /memory/conversations`, `/memory/knowledge`, `/memory/search` and `/memory/trends`. */
export function learningRoutes(memory: MemoryCore): Route[] {
  return [
    route({
      at: 'GET /memory/conversations',
      permission: 'users',
      id: 'listConversations',
      summary: 'The conversations whose id begins with a prefix, page by page',
      tag: 'reading',
      parts: { querystring: conversationsQuery },
      answers: { 200: { schema: conversationPage, description: 'A page.' } },
      pages: true,
      problems: READ_PROBLEMS,
      call: async ({ query }) => memory.listConversations(query),
    }),
    route({
      at: 'GET /memory/knowledge',
      permission: 'users',
      id: 'listKnowledge',
      summary: 'What was shared as public, newest first, page by page',
      tag: 'learning',
      parts: { querystring: knowledgeQuery },
      answers: { 200: { schema: knowledgePage, description: 'A page.' } },
      pages: true,
      problems: ['key_missing', ...READ_PROBLEMS],
      call: async ({ query }) => memory.listKnowledge(query),
    }),
    route({
      at: 'GET /memory/search',
      permission: 'users',
      id: 'search',
      summary: 'The records that have most of some words, best first, uncommitted ones too',
      tag: 'reading',
      parts: { querystring: searchQuery },
      answers: { 200: { schema: searchResult, description: 'What was found; empty where nothing was.' } },
      problems: ['invalid_configuration', ...READ_PROBLEMS],
      call: async ({ query }) => memory.search(query),
    }),
    route({
      at: 'GET /memory/trends',
      permission: 'users',
      id: 'getTrends',
      summary: 'Turns, tokens and reflections of committed records by hour, day or week',
      tag: 'learning',
      parts: { querystring: trendsQuery },
      answers: { 200: { schema: trends, description: 'The buckets that have records.' } },
      problems: READ_PROBLEMS,
      call: async ({ query }) => memory.getTrends(query),
    }),
  ];
}
