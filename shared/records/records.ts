/**
 * **shared/records/**: what a record, a job and a row are, and how text becomes tokens and comes back. It knows no store.
 */
import { z } from 'zod';
import { identifier, identifierUpTo, moment, recordId } from '../identifiers.ts';
import { isSealed } from '../secrets/encryption.ts';
import { type Encoding, ENCODINGS, isToken } from './tokenizer.ts';
import type { Tokens } from './tokens.ts';
import { listOf } from '../validate.ts';

/** Longest text, in bytes of UTF-8: 2 MiB keeps a job far below Redis's 512 MB value limit and a row below a request's. */
export const TEXT_BYTES = 2 * 1024 * 1024;

/** Text of a record: not empty, and of bounded size. */
export const textOfRecord = z
  .string()
  .min(1)
  .refine((value) => Buffer.byteLength(value) <= TEXT_BYTES, `at most ${TEXT_BYTES} bytes of UTF-8`);

const visibility = z.enum(['private', 'public']);
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

/** What a record is: a turn, or one of the texts that are committed at once and pinned. */
export const MODULES = ['chat', 'reflection', 'finetune', 'knowledge'] as const;
export type Module = (typeof MODULES)[number];
export const PINNED_MODULES = ['reflection', 'finetune', 'knowledge'] as const;
export type PinnedModule = (typeof PINNED_MODULES)[number];

/** Of a knowledge item that another Mnemoq has signed: with the job's own fields it makes that very document again. */
const importedDocument = z.strictObject({
  cid: z.string().min(1).max(200),
  /** The conversation its document names; the job's is where it is filed here. */
  contextId: identifier,
  /** What its document says was there before it, where it was made. */
  previousCid: z.string().min(1).max(200).optional(),
  signingKey: z.string().min(1).max(100),
  signature: z.string().min(1).max(200),
});

/** Data of a job in queue `reflection`. Without `module` it is a reflection. */
const reflectionFields = z.strictObject({
  id: recordId,
  contextId: identifier,
  userId: identifier.optional(),
  reflectionText: textOfRecord,
  visibility,
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

/** Most text of a focus, in UTF-16 units. */
const FOCUS_LENGTH = 2_000;
const focus = identifierUpTo(FOCUS_LENGTH);

/** Data of a job in queue `reflector`: whose turns are to be looked at; `begun` is what the last attempt began with. */
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

/** What `saveChat` takes; the producer fills in what is missing. */
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

/** What `saveKnowledge` takes: it is always public. */
export const knowledgeInput = finetuneInput.omit({ visibility: true });
export type KnowledgeInput = z.input<typeof knowledgeInput>;

export type Visibility = z.infer<typeof visibility>;

/** A record once its worker has tokenized it: what the tiers hold. */
export interface MemoryRecord {
  id: string;
  contextId: string;
  userId: string | null;
  module: Module;
  /** ISO 8601, UTC, milliseconds. */
  createdAt: string;
  tokens: Tokens;
  /** The text for people who need it searchable or readable, by MEMORY_TEXT_CACHE; null when off. */
  textCache: string | null;
  cid: string | null;
}

/**
 * Tokens as every reader counts, opens and decodes them. The database would take any JSON, and one record without them
 * would break every later read of its conversation. More fields than these are the database's matter.
 */
const tokens = z.custom<Tokens>(
  isTokens,
  'encoding with user and assistant or text, arrays of token ids; or with sealed and counts',
);

function isTokens(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { encoding, sealed, counts, ...arrays } = value as Record<string, unknown>;
  if (!ENCODINGS.includes(encoding as Encoding) || !isJson(value)) return false;
  return sealed === undefined
    ? hasParts(arrays, (ids) => Array.isArray(ids) && ids.every((id) => isToken(id, encoding as Encoding)))
    : typeof sealed === 'string' && isSealed(sealed) && hasParts(counts, isCount);
}

/** Those of a turn, or the one of any other record. */
function hasParts(parts: unknown, isPart: (part: unknown) => boolean): boolean {
  if (typeof parts !== 'object' || parts === null) return false;
  const { text, user, assistant } = parts as Record<string, unknown>;
  return isPart(text) || (isPart(user) && isPart(assistant));
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Not with a cycle or a bigint in it, which no job can carry. */
function isJson(value: object): boolean {
  try {
    return Boolean(JSON.stringify(value));
  } catch {
    return false;
  }
}

/** A row as it waits in quarantine, perhaps mended by hand. What else the database refuses it says itself. */
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

/** A row of `memories`. */
export interface MemoryRow {
  id: string;
  user_id: string | null;
  context_id: string;
  tokens: Tokens;
  text_cache: string | null;
  module: Module;
  cid: string | null;
  created_at: string;
}

export function toRow(record: MemoryRecord): MemoryRow {
  return {
    id: record.id,
    user_id: record.userId,
    context_id: record.contextId,
    tokens: record.tokens,
    text_cache: record.textCache,
    module: record.module,
    cid: record.cid,
    created_at: record.createdAt,
  };
}

/** What a record is, without what it says. */
export type RecordHead = Pick<MemoryRecord, 'id' | 'contextId' | 'userId' | 'module' | 'createdAt'>;

export function headOf(row: Omit<MemoryRow, 'tokens' | 'text_cache' | 'cid'>): RecordHead {
  return {
    id: row.id,
    contextId: row.context_id,
    userId: row.user_id,
    module: row.module,
    createdAt: new Date(row.created_at).toISOString(),
  };
}

export function fromRow(row: MemoryRow): MemoryRecord {
  return { ...headOf(row), tokens: row.tokens, textCache: row.text_cache, cid: row.cid };
}

/** The form a record takes in a conversation's hash: `{"user":[…],"assistant":[…],"timestamp":"…", …}`. */
export function toCached(record: MemoryRecord): string {
  const { createdAt, tokens, contextId: _inTheKey, ...rest } = record;
  return JSON.stringify({ ...tokens, timestamp: createdAt, ...rest });
}

export function fromCached(contextId: string, cached: string): MemoryRecord {
  const { timestamp, id, userId, module, textCache, cid, ...tokens } = JSON.parse(cached);
  return { id, contextId, userId, module, createdAt: timestamp, tokens, textCache, cid };
}
