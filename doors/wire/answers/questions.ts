import { z } from 'zod';
import type { Page } from '../../../producers/index.ts';
import type { Conversation } from '../../../producers/reading/conversations.ts';
import type { SearchResult } from '../../../producers/questions/search.ts';
import type { Trends } from '../../../producers/questions/trends.ts';
import { contextId, count, createdAt, listOf, named, onlyPageOf, time } from './fields.ts';
import { contextRecordFields } from './records.ts';

const conversationFields = z
  .strictObject({ contextId, lastCreatedAt: time('Of its newest committed record; null when none is committed yet.') })
  .describe('A conversation.');
const conversationPageFields = z.strictObject(
  listOf(conversationFields, 'In the order of their ids, byte by byte.'),
) satisfies z.ZodType<Page<Conversation>>;
export const conversationPage = named('ConversationPage', conversationPageFields, 'A page of conversations.');

const searchHit = contextRecordFields.extend({
  score: z.number().describe('BM25: the higher the better, to be compared within one answer only.'),
});
const searchFields = z.strictObject({
  ...onlyPageOf(
    searchHit,
    'Best first; of equal ones the newest.',
    'False when records were passed over, or more are uncommitted than one search looks through.',
  ),
  sealed: count('Records passed over because their tokens are encrypted; counted up to 1000.'),
}) as unknown as z.ZodType<SearchResult>;
export const searchResult = named('SearchResult', searchFields, 'What a search finds.');

const mean = (description: string) => z.number().nullable().describe(description);
const trendFields = z
  .strictObject({
    from: z.string().meta({ description: 'When it begins: ISO 8601, UTC.', format: 'date-time' }),
    turns: count('Turns in it.'),
    userTokenCount: count("Tokens of the users' messages."),
    assistantTokenCount: count("Tokens of the assistant's messages."),
    meanUserTokenCount: mean("Mean tokens of a user's message; null without turns."),
    meanAssistantTokenCount: mean('Mean tokens of a reply; null without turns.'),
    reflections: count('Reflections in it.'),
    reflectionTokenCount: count('Tokens of the reflections.'),
    meanGapSeconds: mean('Mean seconds between turns that follow each other; null with fewer than two.'),
  })
  .describe('A stretch of time.');
const trendsFields = z.strictObject({
  from: createdAt,
  to: createdAt,
  bucket: z.enum(['hour', 'day', 'week']).describe('How long each bucket is.'),
  timeZone: z.string().describe('In which buckets begin.'),
  ...onlyPageOf(trendFields, 'Oldest first; buckets without any record are left out.'),
}) satisfies z.ZodType<Trends>;
export const trends = named('Trends', trendsFields, 'Turns, tokens and reflections over time.');
