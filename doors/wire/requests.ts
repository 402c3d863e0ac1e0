/**
 * **doors/wire/**: names and shapes as they travel: snake_case, requests, answers, pages. The servers that send and receive
 * them stand in the folders beside this one.
 */
import { z } from 'zod';
import {
  chatInput,
  finetuneInput,
  knowledgeInput,
  reflectionInput,
  reflectionRequest,
  TEXT_BYTES,
} from '../../shared/records/jobs.ts';
import { identifier, recordId } from '../../shared/identifiers.ts';
import { conversationsOptions } from '../../producers/reading/conversations.ts';
import { flushOptions } from '../../producers/saving/flushing.ts';
import { importRequest } from '../../producers/reflections/knowledge-import.ts';
import { knowledgeOptions } from '../../producers/reflections/knowledge.ts';
import { traceOptions } from '../../producers/reflections/provenance.ts';
import { pageOptions, recentOptions, scope } from '../../producers/reading/reading.ts';
import { conversationReflectionsOptions, reflectionsOptions } from '../../producers/reflections/reflections.ts';
import { searchOptions } from '../../producers/questions/search.ts';
import { exportOptions } from '../../producers/questions/training-data.ts';
import { trendsOptions } from '../../producers/questions/trends.ts';
import { CURSOR, FROM, LIMIT, MAX_TOKENS, OF_CONTEXT, OF_USER, TO } from './descriptions.ts';
import { snakeCase, type Words } from './snake-case.ts';

/**
 * The limit for JSON Schema, which cannot say exactly what zod checks: JSON Schema counts code points, and the limit is in
 * UTF-16 units.
 */
const idLength = { maxLength: 512 };
const text = (description: string, example: string): Words => ({
  description: `${description} At most ${TEXT_BYTES} bytes of UTF-8.`,
  maxLength: TEXT_BYTES,
  examples: [example],
});

const userFilter: Words = {
  description: `${OF_USER} A key bound to a user may leave it out; it sees no others anyway.`,
  ...idLength,
};

const allowPartial = 'Answer with what Redis has while Supabase is away, and say so in `complete`. Default: false.';

const recordWords = {
  id: "The record's UUID, best version 7; made when missing. A key bound to a user may not choose it.",
  contextId: { description: 'The conversation.', ...idLength, examples: ['support-42'] },
  userId: {
    description: 'Whose record it is. A key bound to a user may leave it out.',
    ...idLength,
    examples: ['alice'],
  },
  createdAt: { description: 'ISO 8601 with zone. Default: now.', examples: ['2025-10-19T15:42:10.000Z'] },
  idempotencyKey: {
    description:
      'The same key of the same user and conversation is the same record. The header Idempotency-Key says the same.',
    ...idLength,
  },
} satisfies Record<string, Words>;
const textWords = {
  ...recordWords,
  visibility: 'public puts the text on IPFS as it is, private encrypted. Default: private.',
  sourceIds: {
    description: 'The records it was made from, 1000 at most.',
    type: 'array',
    items: { type: 'string', format: 'uuid' },
    maxItems: 1000,
  },
} satisfies Record<string, Words>;
const { visibility: _alwaysPublic, ...knowledgeWords } = textWords;

/** The user of a bound key is known, so the field may be missing. The route makes sure that a service names a user. */
const withoutUser = { userId: true } as const;
export const chatBody = snakeCase(chatInput.partial(withoutUser), {
  ...recordWords,
  userMessage: text('What the user said.', 'Which colour do I like?'),
  assistantMessage: text('What the assistant replied.', 'Blue, you said last week.'),
  important: 'true commits it to Supabase at once instead of with the next flush. Default: false.',
});
export const reflectionBody = snakeCase(reflectionInput, {
  ...textWords,
  reflectionText: text('What the agent writes.', 'Alice likes blue.'),
});
export const reflectionRequestBody = snakeCase(reflectionRequest, {
  contextId: recordWords.contextId,
  userId: { ...recordWords.userId, description: "Only this user's turns; everybody's without it." },
  focus: { description: 'What the reflection should be about, for the reflector.', maxLength: 2_000 },
});
export const finetuneBody = snakeCase(finetuneInput, {
  ...textWords,
  text: text('What the training produced.', 'Answers to colour questions are shorter now.'),
});
export const knowledgeBody = snakeCase(knowledgeInput, {
  ...knowledgeWords,
  text: text('What is to be shared.', 'Blue is the most liked colour.'),
});
export const flushBody = snakeCase(flushOptions.pick({ batchSize: true }), {
  batchSize: 'Most rows in one request to Supabase. Default: MEMORY_FLUSH_BATCH_SIZE.',
});
export const importBody = snakeCase(importRequest.omit({ trustedKeys: true }), {
  cid: { description: 'The address of its document on IPFS.', examples: ['bafkreigh2akiscaildc…'] },
  contextId: { description: 'Where to file it. Default: the conversation its document names.', ...idLength },
  userId: { description: 'Whose it is here. Default: nobody in particular.', ...idLength },
});

/** The bodies in which the conversation may have one of the names of the original guide. */
export const SAVE_BODIES: ReadonlySet<z.ZodType> = new Set([
  chatBody,
  reflectionBody,
  finetuneBody,
  knowledgeBody,
  importBody,
]);

export const pageQuery = snakeCase(pageOptions, {
  userId: userFilter,
  cursor: CURSOR,
  limit: { description: LIMIT, default: 100 },
  allowPartial,
});
export const recentQuery = snakeCase(recentOptions, {
  userId: userFilter,
  limit: `${LIMIT} Default: 100, or 1000 when only \`max_tokens\` is given.`,
  maxTokens: MAX_TOKENS,
  format: 'Texts by record, messages for a chat model, or token ids. Default: turns.',
  allowPartial,
});
export const scopeQuery = snakeCase(scope, { userId: userFilter });

const conversation = identifier.meta({ description: 'The conversation.', ...idLength, examples: ['support-42'] });
export const contextPath = z.strictObject({ context_id: conversation });
export const recordPath = z.strictObject({ id: recordId.meta({ description: "The record's UUID." }) });
export const cidPath = z.strictObject({
  cid: z
    .string()
    .min(1)
    .max(200)
    .meta({ description: 'The address on IPFS.', examples: ['bafkreigh2akiscaildc…'] }),
});
export const userPath = z.strictObject({ user_id: identifier.meta({ description: 'The user.', ...idLength }) });

export const saveHeaders = z.looseObject({
  prefer: z
    .string()
    .optional()
    .meta({
      description: 'How long to wait for the worker, in seconds, as RFC 7240 has it.',
      examples: ['wait=5'],
    }),
  'idempotency-key': z
    .string()
    .optional()
    .meta({
      description: 'Makes a save safe to repeat; the same as `idempotency_key` in the body.',
      examples: ['order-66'],
    }),
});
export const waitHeaders = saveHeaders.pick({ prefer: true });

const since = { description: FROM, examples: ['2025-10-01T00:00:00Z'] };
const until = { description: TO, examples: ['2025-11-01T00:00:00Z'] };
const ofConversation: Words = { description: OF_CONTEXT, ...idLength };
export const conversationsQuery = snakeCase(conversationsOptions, {
  userId: userFilter,
  prefix: { description: 'What their ids begin with.', ...idLength },
  cursor: { ...CURSOR, ...idLength },
  limit: { description: LIMIT, default: 100 },
});
export const knowledgeQuery = snakeCase(knowledgeOptions, {
  userId: {
    description: "This user's items and those of nobody in particular. A key bound to a user may leave it out.",
    ...idLength,
  },
  query: { description: 'Only items whose text contains this, whatever the case of its letters.', ...idLength },
  cursor: CURSOR,
  limit: { description: LIMIT, default: 100 },
});
export const reflectionsQuery = snakeCase(reflectionsOptions, {
  userId: userFilter,
  contextId: ofConversation,
  module: 'Only records of this kind.',
  from: since,
  to: until,
  cid: 'Only what has this address on IPFS.',
  cursor: CURSOR,
  limit: { description: LIMIT, default: 100 },
});
export const traceQuery = snakeCase(traceOptions, {
  userId: userFilter,
  cursor: CURSOR,
  limit: { description: LIMIT, default: 20 },
});
export const conversationReflectionsQuery = snakeCase(conversationReflectionsOptions, {
  userId: userFilter,
  cursor: CURSOR,
  limit: { description: LIMIT, default: 100 },
});
export const tracePath = z.strictObject({
  reflection: z
    .string()
    .min(1)
    .max(200)
    .meta({ description: "Its address on IPFS, or its record's UUID.", examples: ['bafkreigh2akiscaildc…'] }),
});
export const searchQuery = snakeCase(searchOptions, {
  userId: userFilter,
  contextId: ofConversation,
  query: { description: 'Words, in any script.', ...idLength, examples: ['tomato seedlings'] },
  limit: { description: LIMIT, default: 10 },
});
export const trendsQuery = snakeCase(trendsOptions, {
  userId: userFilter,
  contextId: ofConversation,
  from: since,
  to: until,
  bucket: 'How long each bucket is; a week begins on Monday.',
  timeZone: { description: 'In which buckets begin, an IANA name. Default: UTC.', examples: ['Asia/Taipei'] },
});
export const exportQuery = snakeCase(exportOptions, {
  userId: userFilter,
  contextId: ofConversation,
  module: 'Only records of this kind.',
  from: since,
  to: until,
  format: 'Token ids, or text as OpenAI or ShareGPT have it for fine-tuning.',
});
