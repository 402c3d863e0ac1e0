import { z } from 'zod';
import { chatInput, reflectionInput } from '../../shared/records/jobs.ts';
import { identifier } from '../../shared/identifiers.ts';
import { conversationsOptions } from '../../producers/reading/conversations.ts';
import { CURSOR, FROM, LIMIT, MAX_TOKENS, OF_CONTEXT, OF_USER, TO } from '../wire/descriptions.ts';
import { snakeCase, type Words } from '../wire/snake-case.ts';
import { recentOptions, scope } from '../../producers/reading/reading.ts';
import { reflectionsOptions } from '../../producers/reflections/reflections.ts';
import { searchOptions } from '../../producers/questions/search.ts';

/** A number that leaves room in the prompt of an agent for everything else. */
export const RECALLED_TOKENS = 4_000;

const wait = z.boolean().optional();
const ofUser: Words = {
  description: `${OF_USER} Leave it out when the connection is bound to one user.`,
  maxLength: 512,
};
const ofConversation: Words = { description: OF_CONTEXT, maxLength: 512 };
const saved = {
  contextId: { description: 'The conversation, under a name you choose and use again.', maxLength: 512 },
  createdAt: 'When it was said: ISO 8601 with zone. Default: now.',
  idempotencyKey: {
    description:
      'Saving again with the same key, user and conversation changes nothing: give one if you may try again.',
    maxLength: 512,
  },
} satisfies Record<string, Words>;

/** The fields that an agent may not give. Mnemoq makes the ids itself, because an agent could choose the id of another record. */
export const turnRequest = snakeCase(chatInput.omit({ id: true }).partial({ userId: true }).extend({ wait }), {
  ...saved,
  userId: { description: 'Who spoke. Needed unless the connection is bound to one user.', maxLength: 512 },
  userMessage: 'What the user said.',
  assistantMessage: 'What the assistant replied.',
  important: 'true writes it to the long-term database at once instead of with the next batch. Default: false.',
  wait: 'true answers when load_recent_context can see the turn, false as soon as it is safely queued. Default: false.',
});
export const reflectionRequest = snakeCase(reflectionInput.omit({ id: true }).extend({ wait }), {
  ...saved,
  userId: {
    description: 'Whose reflection it is. Left out, that of the user the connection is bound to.',
    maxLength: 512,
  },
  reflectionText: 'The text: what is worth keeping of the conversation, or of how you work.',
  visibility: 'public puts the text on IPFS for everybody, private encrypted. Default: private.',
  sourceIds: {
    description: 'Ids of the records it was made from, 1000 at most.',
    type: 'array',
    items: { type: 'string', format: 'uuid' },
    maxItems: 1000,
  },
  wait: 'true answers when it is pinned and has its CID, false as soon as it is safely queued. Default: false.',
});

export const recallRequest = snakeCase(
  recentOptions.extend({ contextId: identifier, format: z.enum(['turns', 'messages']).optional() }),
  {
    contextId: { description: 'The conversation.', maxLength: 512 },
    userId: ofUser,
    maxTokens: `${MAX_TOKENS} Default: ${RECALLED_TOKENS}.`,
    limit: `${LIMIT} Default: as many as fit the tokens, up to 1000.`,
    format: 'turns (records with ids and times) or messages (role and content, for a chat model). Default: turns.',
    allowPartial: 'Answer with what is at hand while the long-term database is away. Default: false.',
  },
);
export const reflectionsRequest = snakeCase(reflectionsOptions, {
  contextId: ofConversation,
  userId: ofUser,
  module: 'Only records of this kind. Default: any.',
  from: FROM,
  to: TO,
  cid: 'Only what has this address on IPFS.',
  cursor: CURSOR,
  limit: { description: LIMIT, default: 100 },
});
export const conversationsRequest = snakeCase(conversationsOptions, {
  userId: ofUser,
  prefix: { description: 'What their names begin with. Default: any.', maxLength: 512 },
  cursor: { ...CURSOR, maxLength: 512 },
  limit: { description: LIMIT, default: 100 },
});
export const searchRequest = snakeCase(searchOptions, {
  query: { description: 'A few telling words, in the language in which they were said.', maxLength: 512 },
  contextId: ofConversation,
  userId: ofUser,
  limit: { description: LIMIT, default: 10 },
});
export const verifyRequest = snakeCase(scope.extend({ cid: z.string().min(1).max(200) }), {
  cid: 'The CID, such as one from save_reflection or list_reflections.',
  userId: ofUser,
});
export const statsRequest = snakeCase(z.strictObject({}), {});
