import { z } from 'zod';
import { MODULES } from '../../../shared/records/records.ts';
import type { ContextMessage } from '../../../shared/records/messages.ts';
import type { ContextRecord, ContextTokens } from '../../../producers/reading/context.ts';
import type { ContextPage, Inspection, Receipt, RecordStatus } from '../../../producers/index.ts';
import { cid, contextId, count, createdAt, encoding, id, listOf, named, onlyPageOf, time, userId } from './fields.ts';

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

export const contextRecordFields = z
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
