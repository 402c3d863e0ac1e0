import { z } from 'zod';
import { identifier, identifierUpTo, recordId } from '../identifiers.ts';
import { moment } from '../moments.ts';
import { listOf } from '../validate.ts';
import { MODULES, PINNED_MODULES, VISIBILITIES } from './records.ts';
import { isTokens, type Tokens } from './tokens.ts';

/**
 * The longest text, in bytes of UTF-8. 2 MiB keep a job far below the 512 MB that Redis takes as a value, and a row far below
 * what a request may have.
 */
export const TEXT_BYTES = 2 * 1024 * 1024;

/** The text of a record: not empty, and of bounded size. */
export const textOfRecord = z
  .string()
  .min(1)
  .refine((value) => Buffer.byteLength(value) <= TEXT_BYTES, `at most ${TEXT_BYTES} bytes of UTF-8`);

const sourceIds = listOf(recordId, 1000);

/** Data of a job in queue `chat`. */
export const chatJob = z.strictObject({
  id: recordId,
  contextId: identifier,
  userId: identifier,
  userMessage: textOfRecord,
  assistantMessage: textOfRecord,
  createdAt: moment,
  important: z.boolean().optional(),
});
export type ChatJob = z.infer<typeof chatJob>;

/** What is known of a knowledge item that another Mnemoq has signed. With the job's own fields it makes that very document. */
const importedDocument = z.strictObject({
  cid: z.string().min(1).max(200),
  /** The conversation that its document names. The job's `contextId` is where the item is filed here. */
  contextId: identifier,
  /** What was there before it where it was made, as its document says. */
  previousCid: z.string().min(1).max(200).optional(),
  signingKey: z.string().min(1).max(100),
  signature: z.string().min(1).max(200),
});

/** Data of a job in queue `reflection`. Without `module` the record is a reflection. */
const reflectionFields = z.strictObject({
  id: recordId,
  contextId: identifier,
  userId: identifier.optional(),
  reflectionText: textOfRecord,
  visibility: z.enum(VISIBILITIES),
  module: z.enum(PINNED_MODULES).optional(),
  sourceIds: sourceIds.optional(),
  createdAt: moment,
  imported: importedDocument.optional(),
});
export const reflectionJob = reflectionFields
  .refine((job) => job.module !== 'knowledge' || job.visibility === 'public', {
    path: ['visibility'],
    message: 'public: knowledge is there to be shared',
  })
  .refine((job) => !job.imported || job.module === 'knowledge', {
    path: ['module'],
    message: 'knowledge: nothing else is imported',
  });
export type ReflectionJob = z.infer<typeof reflectionJob>;

/** The longest focus, in UTF-16 units. */
const FOCUS_LENGTH = 2_000;
const focus = identifierUpTo(FOCUS_LENGTH);

/** Data of a job in queue `reflector`: whose turns are to be looked at. `begun` is what the last attempt has begun with. */
export const reflectorJob = z.strictObject({
  contextId: identifier,
  userId: identifier.optional(),
  begun: z
    .strictObject({
      turns: z.int().min(0),
      request: z.string().nullable(),
      reason: z.enum(['turns', 'idle', 'request']),
      focus: focus.nullable(),
    })
    .optional(),
});
export type ReflectorJob = z.infer<typeof reflectorJob>;

/** What `requestReflection` takes. */
export const reflectionRequest = reflectorJob.omit({ begun: true }).extend({ focus: focus.optional() });
export type ReflectionRequest = z.input<typeof reflectionRequest>;

/** Data of a job in queue `flush`. */
export const flushJob = z.strictObject({
  reason: z.string().min(1).max(100),
  batchSize: z.int().min(1).max(1000).optional(),
  attempt: z.int().min(0).optional(),
});
export type FlushJob = z.infer<typeof flushJob>;

/** What `saveChat` takes. The producer fills in what is missing. */
export const chatInput = chatJob
  .partial({ id: true, createdAt: true })
  .extend({ idempotencyKey: identifier.optional() });
export type ChatInput = z.input<typeof chatInput>;

/** What `saveReflection` takes. */
export const reflectionInput = reflectionFields
  .omit({ module: true, imported: true })
  .partial({ id: true, createdAt: true, visibility: true })
  .extend({ idempotencyKey: identifier.optional() });
export type ReflectionInput = z.input<typeof reflectionInput>;

/** What `saveFinetuneOutput` takes. */
export const finetuneInput = reflectionInput.omit({ reflectionText: true }).extend({ text: textOfRecord });
export type FinetuneInput = z.input<typeof finetuneInput>;

/** What `saveKnowledge` takes. Knowledge is always public. */
export const knowledgeInput = finetuneInput.omit({ visibility: true });
export type KnowledgeInput = z.input<typeof knowledgeInput>;

const tokens = z.custom<Tokens>(
  isTokens,
  'encoding with user and assistant or text, arrays of token ids; or with sealed and counts',
);

/** A row as it waits in quarantine, perhaps mended by hand. The database itself says what else it refuses. */
export const quarantineJob = z.strictObject({
  row: z.strictObject({
    id: recordId,
    user_id: identifier.nullable(),
    context_id: identifier,
    tokens,
    text_cache: z.string().nullable(),
    module: z.enum(MODULES),
    cid: z.string().nullable(),
    created_at: moment,
  }),
  error: z.strictObject({ code: z.string(), message: z.string() }),
});
export type QuarantineJob = z.infer<typeof quarantineJob>;
