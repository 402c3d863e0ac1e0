/**
 * **doors/wire/**: names and shapes as they travel: snake_case, requests, answers, pages. Servers are the matter of the
 * folders above.
 */
import { z } from 'zod';
import { QUEUES, type FlushResult } from '../../shared/queues.ts';
import { MODULES, PINNED_MODULES } from '../../shared/records/records.ts';
import { ENCODINGS } from '../../shared/records/tokenizer.ts';
import type { ContextMessage } from '../../shared/records/messages.ts';
import type { ContextRecord, ContextTokens } from '../../producers/reading/context.ts';
import type {
  ContextPage,
  Inspection,
  Page,
  Receipt,
  RecordStatus,
  Reflection,
  Stats,
  Verification,
} from '../../producers/index.ts';
import type { Conversation } from '../../producers/reading/conversations.ts';
import type { ErasureReceipt } from '../../producers/keeping/erasure.ts';
import type { KnowledgeItem } from '../../producers/reflections/knowledge.ts';
import type { Trace } from '../../producers/reflections/provenance.ts';
import type { ReflectionRequestReceipt } from '../../producers/reflections/reflecting.ts';
import type { ListedReflection, ReflectionPage } from '../../producers/reflections/reflections.ts';
import type { SearchResult } from '../../producers/questions/search.ts';
import type { Trends } from '../../producers/questions/trends.ts';
import { snakeAnswer } from './snake-case.ts';

/** Words for what appears in more than one answer. */
const id = z.string().meta({ description: "The record's UUID.", format: 'uuid' });
const contextId = z.string().describe('The conversation.');
const userId = z.string().nullable().describe('Whose record it is; null for nobody in particular.');
const createdAt = z.string().meta({ description: 'ISO 8601, UTC.', format: 'date-time' });
const time = (description: string) => z.string().nullable().meta({ description, format: 'date-time' });
const cid = z.string().nullable().describe('Its address on IPFS; null until it is pinned, and for a turn.');
const count = (description: string) => z.int().min(0).describe(description);

/** Under this name in the document. */
function named<T>(name: string, schema: z.ZodType<T>, description: string) {
  return snakeAnswer(schema).meta({ id: name, description });
}

const receiptFields = z.strictObject({
  success: z.literal(true).describe('Always true: what is refused is answered with a problem.'),
  id,
  redisStored: z.boolean().describe('True from the moment Redis has it, in the queue or in the cache.'),
  supabaseStored: z.boolean().describe('True when the save was waited for and Supabase has the row.'),
  tokenCount: z.int().nullable().describe('Known when the save was waited for.'),
  contextId,
  conversationId: z.string().describe('The same as context_id, by the name that the original guide has for it.'),
  cid: z.string().nullable().describe('Of a pinned text that was waited for.'),
  note: z.string().describe('What happened so far, in words.'),
}) satisfies z.ZodType<Receipt>;
export const receipt = named('Receipt', receiptFields, 'What a save gives.');

const contextRecordFields = z
  .strictObject({
    id,
    contextId,
    userId,
    module: z.enum(MODULES).describe('What kind of record it is.'),
    createdAt,
    tokenCount: count('How many tokens its text has.'),
    cid,
    userMessage: z.string().optional().describe("A turn's first half."),
    assistantMessage: z.string().optional().describe("A turn's second half."),
    text: z.string().optional().describe('Of everything that is not a turn.'),
  })
  .describe('A record as text.');
const contextRecord: z.ZodType<ContextRecord> = contextRecordFields as never; // zod's optional admits undefined
const message = z
  .strictObject({
    role: z.enum(['user', 'assistant', 'system']).describe('Who speaks; what is not a turn is of the system.'),
    content: z.string().describe('What is said.'),
  })
  .describe('A message as chat models take it.') satisfies z.ZodType<ContextMessage>;
const ids = (description: string) => z.array(z.int().min(0)).describe(description);
const encoding = z.enum(ENCODINGS).describe("tiktoken's name of the encoding.");
const tokens = z
  .union([
    z.strictObject({
      id,
      encoding,
      user: ids("The user message's token ids."),
      assistant: ids("The assistant message's token ids."),
    }),
    z.strictObject({ id, encoding, text: ids("The text's token ids.") }),
  ])
  .describe('A record as token ids.') satisfies z.ZodType<ContextTokens>;

/** What every list answers with. `more` says why something may be missing from it, where that can be. */
function listOf<T>(item: z.ZodType<T>, order: string, more = '') {
  return {
    items: z.array(item).describe(order),
    nextCursor: z
      .string()
      .nullable()
      .describe('`cursor` of the next page, also in the header Link; null after the last one.'),
    complete: completeness(more),
  };
}

/** The same for a list that has one page only. */
function onlyPageOf<T>(item: z.ZodType<T>, order: string, more = '') {
  const nextCursor = z.null().describe('Always null: there are no further pages.');
  return { items: z.array(item).describe(order), nextCursor, complete: completeness(more) };
}

function completeness(more: string) {
  const means = 'True unless something that belongs between the first and the last item may be missing.';
  return z.boolean().describe(more === '' ? means : `${means} ${more}`);
}
const PARTIAL = 'False only with allow_partial and while Supabase is away: then committed records may be missing.';

const contextPageFields = z.strictObject({
  contextId,
  ...listOf(contextRecord, 'Oldest first.', PARTIAL),
}) satisfies z.ZodType<ContextPage>;
export const contextPage = named('ContextPage', contextPageFields, 'A page of a conversation.');

const recentFields = z.strictObject({
  contextId,
  format: z.enum(['turns', 'messages', 'tokens']).describe('What the items are.'),
  tokenCount: count('Of all records in it.'),
  ...onlyPageOf(contextRecord, '', PARTIAL),
  items: z
    .union([z.array(contextRecord), z.array(message), z.array(tokens)])
    .describe('Oldest first: records, messages or token ids, by format.'),
});
export const recentContext = named('RecentContext', recentFields, 'The newest records that fit.');

const sha256 = z
  .string()
  .describe('Of the text, hexadecimal: SHA-256, or for a private one HMAC-SHA-256 under its own key.');
const reflectionFields = z
  .strictObject({
    id,
    userId,
    cid: z.string().describe('Its address on IPFS, computed before it is pinned.'),
    sha256,
    signature: z.string().describe('Ed25519, base64.'),
    visibility: z.enum(['private', 'public']).describe('Whether the document on IPFS is encrypted.'),
    sourceIds: z.array(z.string()).describe('The records it was made from.'),
    previousCid: z
      .string()
      .nullable()
      .describe('The one of the same module, conversation and user before it; null where there was none.'),
    pinnedAt: time('ISO 8601, UTC; null while the pin is still to come.'),
    createdAt,
  })
  .describe('A reflection, a fine-tune output or a knowledge item, without its text.') satisfies z.ZodType<Reflection>;
const listedReflectionFields = reflectionFields
  .extend({
    contextId,
    module: z.enum(PINNED_MODULES).describe('What kind of record it is.'),
    previousMissing: z
      .boolean()
      .nullable()
      .describe('Whether the one before it is not there any more; null where there was none before.'),
  })
  .describe('A reflection, a fine-tune output or a knowledge item, without its text.');
const reflectionIndexFields = z.strictObject(listOf(listedReflectionFields, 'Newest first.')) satisfies z.ZodType<
  Page<ListedReflection>
>;
export const reflectionIndex = named('ReflectionIndex', reflectionIndexFields, 'A page of the index of reflections.');
const reflectionPageFields = reflectionIndexFields.extend({ contextId }) satisfies z.ZodType<ReflectionPage>;
export const reflectionPage = named('ReflectionPage', reflectionPageFields, "A page of a conversation's reflections.");

const source = z
  .strictObject({
    id,
    missing: z.boolean().describe('Whether it is not there any more; then nothing else is known of it.'),
    contextId: z.string().nullable().describe('The conversation.'),
    userId,
    module: z.enum(MODULES).nullable().describe('What kind of record it is.'),
    createdAt: time('ISO 8601, UTC.'),
  })
  .describe('A record it was made from.');
const link = z
  .strictObject({
    cid: z.string().describe('Its address on IPFS.'),
    missing: z.boolean().describe('Whether it is not there any more; the chain ends here.'),
    reflection: listedReflectionFields.nullable().describe('The reflection; null when it is missing.'),
    sources: z.array(source).describe('In the order of its source_ids.'),
  })
  .describe('A link of the chain.');
const traceFields = z.strictObject(
  listOf(
    link,
    'Newest first: the one asked for, the one before it, and so on.',
    'False when a link or a source of one is missing.',
  ),
) satisfies z.ZodType<Trace>;
export const trace = named('Trace', traceFields, 'Where a reflection comes from.');

const newestCidFields = z.strictObject({
  contextId,
  cid: z.string().nullable().describe('Of the newest pinned reflection; null when there is none.'),
});
export const newestCid = named('NewestCid', newestCidFields, "The address of a conversation's newest reflection.");

const askedFields = z.strictObject({
  success: z.literal(true).describe('Always true: what is refused is answered with a problem.'),
  id: z.string().meta({ description: "The request's own UUID.", format: 'uuid' }),
  contextId,
  userId: z.string().nullable().describe("Whose turns are reflected on; null for everybody's."),
  note: z.string().describe('What happened so far, in words.'),
}) satisfies z.ZodType<ReflectionRequestReceipt>;
export const askedReflection = named('AskedReflection', askedFields, 'What asking for a reflection gives.');

const statusFields = z.strictObject({
  id,
  status: z
    .enum(['queued', 'cached', 'committed', 'pinned', 'quarantined', 'failed'])
    .describe('How far it has come: in the queue, in Redis, in Supabase, on IPFS; or why not.'),
  reason: z.string().nullable().describe('Why it failed, is quarantined or is not further yet; null when all is said.'),
  cid,
  queuedAt: time('ISO 8601, UTC; null where not known: a finished job is kept for an hour.'),
  cachedAt: time('ISO 8601, UTC; null where not known.'),
  pinnedAt: time('ISO 8601, UTC; null where not known.'),
}) satisfies z.ZodType<RecordStatus>;
export const recordStatus = named('RecordStatus', statusFields, 'How far a record has come.');

const inspectionFields = z.strictObject({
  record: contextRecord,
  tokens,
  foundIn: z.enum(['redis', 'supabase']).describe('Where it was found.'),
}) satisfies z.ZodType<Inspection>;
export const inspection = named('Inspection', inspectionFields, 'A record with its text and its token ids.');

const statsFields = z.strictObject({
  status: z.enum(['ok', 'degraded']).describe('Whether anything needs attention.'),
  reasons: z.array(z.string()).describe('Why degraded, in words; empty when ok.'),
  pendingQueueLength: count('Records in Redis that Supabase does not have yet.'),
  oldestPendingAgeMs: z.number().nullable().describe('Milliseconds; null when nothing is pending.'),
  quarantined: count('Records refused for their content that wait for a person.'),
  quarantinedLately: count('Of these, how many came within the last ten minutes.'),
  pausedQueues: z.array(z.enum(QUEUES)).describe('Queues that are paused: nothing of them is worked on.'),
  redisUsedBytes: count('Memory in use, in bytes.'),
  redisMaxBytes: count("Redis's memory limit, in bytes; 0 without one."),
  ttlSeconds: count('How long a conversation stays in Redis after it was last committed, in seconds.'),
  shortTermLimit: count("How many of a conversation's newest records stay in Redis."),
  encoding,
  queues: z
    .strictObject(
      Object.fromEntries(QUEUES.map((name) => [name, z.record(z.string(), z.int())])) as Record<
        (typeof QUEUES)[number],
        z.ZodRecord<z.ZodString, z.ZodInt>
      >,
    )
    .describe('Jobs of each queue by state, as BullMQ counts them.'),
}) satisfies z.ZodType<Stats>;
export const stats = named('Stats', statsFields, 'Lengths, ages and limits.');

const verificationFields = z.strictObject({
  cid: z.string().describe('What was checked.'),
  ok: z.boolean().describe('True when every check holds.'),
  checks: z
    .array(
      z.strictObject({
        name: z
          .enum(['fetched', 'cid', 'document', 'signature', 'key', 'row', 'digest', 'record', 'tokens'])
          .describe('Which link of the chain.'),
        ok: z.boolean().describe('Whether it holds.'),
        detail: z.string().describe('What was found, in words.'),
      }),
    )
    .describe('In order; after one on which the rest depends has failed, the rest is missing.'),
}) satisfies z.ZodType<Verification>;
export const verification = named('Verification', verificationFields, 'A CID followed to its row and its tokens.');

const flushFields = z.strictObject({
  success: z.literal(true).describe('Always true: where Supabase cannot be reached the answer is a problem.'),
  totalPending: count('Records that were pending when it began.'),
  flushedCount: count('Records that are in Supabase now.'),
  failedCount: count('Records refused for their content, now in quarantine.'),
  batches: count('Requests it took.'),
}) satisfies z.ZodType<Omit<FlushResult, 'success'>>;
export const flushResult = named('FlushResult', flushFields, 'What a flush did.');

const liveFields = z.strictObject({ live: z.literal(true).describe('It answers.') });
export const live = named('Live', liveFields, 'The process runs.');
const readyFields = z.strictObject({
  status: z.enum(['ok', 'degraded', 'unready']).describe('degraded: it works, and needs attention; see /memory/stats.'),
  ready: z.boolean().describe('Whether requests should come here.'),
});
export const ready = named('Ready', readyFields, 'Whether requests should come here.');

const conversationFields = z
  .strictObject({ contextId, lastCreatedAt: time('Of its newest committed record; null when none is committed yet.') })
  .describe('A conversation.');
const conversationPageFields = z.strictObject(
  listOf(conversationFields, 'In the order of their ids, byte by byte.'),
) satisfies z.ZodType<Page<Conversation>>;
export const conversationPage = named('ConversationPage', conversationPageFields, 'A page of conversations.');

const knowledgeItemFields = z
  .strictObject({
    id,
    contextId,
    userId,
    cid: z.string().describe('Its address on IPFS.'),
    sha256: z.string().describe('SHA-256 of the text, hexadecimal.'),
    text: z.string().describe('What is shared.'),
    createdAt,
    pinnedAt: z.string().meta({ description: 'ISO 8601, UTC.', format: 'date-time' }),
  })
  .describe('Something everybody may read.');
const knowledgePageFields = z.strictObject(
  listOf(knowledgeItemFields, 'Newest first. A page may be empty and not the last one.'),
) satisfies z.ZodType<Page<KnowledgeItem>>;
export const knowledgePage = named('KnowledgePage', knowledgePageFields, 'A page of knowledge.');

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

const erasureFields = z.strictObject({
  id: z.string().meta({ description: "The receipt's own UUID.", format: 'uuid' }),
  scope: z
    .strictObject({
      userId: z.string().nullable().describe('Whose records; null for everybody in the conversation.'),
      contextId: z.string().nullable().describe('Of which conversation; null for all of the user.'),
    })
    .describe('What was erased.'),
  erasedAt: createdAt,
  tiers: z
    .strictObject({
      jobs: count('Jobs of any state, those in quarantine too.'),
      cached: count('Records in Redis.'),
      pending: count('Of these, how many Supabase did not have yet.'),
      committed: count('Rows of memories.'),
      keysDestroyed: count('Wrapped keys: the copies on IPFS can never be read again.'),
      unpinned: count('Pins the IPFS node gave up.'),
      events: count('Events that named it.'),
    })
    .describe('How many of what; a repeat counts what the earlier run had left.'),
  signature: z
    .string()
    .nullable()
    .describe(
      'Ed25519 over the canonical JSON (RFC 8785) of the rest with its names in camelCase, base64url; null without a key.',
    ),
  signingKey: z.string().nullable().describe('The raw public key, base64url.'),
}) satisfies z.ZodType<ErasureReceipt>;
export const erasureReceipt = named('ErasureReceipt', erasureFields, 'What an erasure gives.');
