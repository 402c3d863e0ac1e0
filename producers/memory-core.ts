import { z } from 'zod';
import { isClusterUrl } from '../shared/cluster-url.ts';
import { type Environment, loadConfig, readEnvironment, STORE_SETTINGS } from '../shared/config.ts';
import { Keyring } from '../shared/encryption.ts';
import { MnemoqError } from '../shared/errors.ts';
import { Ipfs, isCid } from '../shared/ipfs.ts';
import { Keys } from '../shared/keys.ts';
import { createLogger } from '../shared/log.ts';
import { LongTerm, MAX_ROWS } from '../shared/long-term.ts';
import { Pending } from '../shared/pending.ts';
import type { ChatResult, FlushResult, ReflectionResult } from '../shared/queues.ts';
import {
  type ChatInput,
  identifier,
  type MemoryRecord,
  recordId,
  type ReflectionInput,
  TEXT_BYTES,
  type Visibility,
} from '../shared/records.ts';
import { connectProducerRedis, connectWorkerRedis, type RedisClient, withinTime } from '../shared/redis.ts';
import { ShortTerm } from '../shared/short-term.ts';
import { decode, type Encoding, ENCODINGS } from '../shared/tokenizer.ts';
import { countTokens, openTokens } from '../shared/tokens.ts';
import { listOf, validate } from '../shared/validate.ts';
import { Admission } from './admission.ts';
import {
  type ContextFormat,
  ContextReader,
  type ContextRecord,
  format,
  type Formatted,
  fromCursor,
  toContextRecord,
  toCursor,
  withinBudget,
} from './context.ts';
import { newChatJob, newChatJobs, newReflectionJob } from './new-job.ts';
import { listQuarantined, type QuarantinedRecord, retryQuarantined } from './quarantine.ts';
import { type Receipt, receiptOf, type SaveOptions, waitMs } from './receipt.ts';
import { collectStats, type Stats } from './stats.ts';
import { findStatus, type RecordStatus } from './status.ts';
import { Submission } from './submission.ts';
import { type Verification, verifyCid } from './verify.ts';

/** A flush moves whatever is pending, which can be a lot. */
const FLUSH_WAIT_MS = 600_000;
/** A retry is one request. */
const RETRY_WAIT_MS = 30_000;
/** Records looked at for a token budget when no limit is given: more than that is a history, not a context. */
const BUDGET_RECORDS = MAX_ROWS;

export interface ContextPage {
  contextId: string;
  /** Oldest first. */
  records: ContextRecord[];
  /** For the next page; null after the last one. */
  nextCursor: string | null;
  complete: boolean;
}

export interface RecentContext<F extends ContextFormat> {
  contextId: string;
  format: F;
  /** Of all records in it. */
  tokenCount: number;
  /** Oldest first. */
  items: Formatted[F][];
  complete: boolean;
}

export interface Reflection {
  id: string;
  cid: string;
  sha256: string;
  signature: string;
  visibility: Visibility;
  sourceIds: string[];
  /** Null while the pin is still to come; then `cid` is the one computed for it. */
  pinnedAt: string | null;
  createdAt: string;
}

export interface Inspection {
  record: ContextRecord;
  tokens: Formatted['tokens'];
  /** Where it was found. */
  foundIn: 'redis' | 'supabase';
}

const pageOptions = z.strictObject({
  cursor: z.string().min(1).max(200).optional(),
  limit: z.int().min(1).max(MAX_ROWS).optional(),
  allowPartial: z.boolean().optional(),
});
const recentOptions = z.strictObject({
  limit: z.int().min(1).max(MAX_ROWS).optional(),
  maxTokens: z.int().min(1).optional(),
  format: z.enum(['turns', 'messages', 'tokens']).optional(),
  allowPartial: z.boolean().optional(),
});
const flushOptions = z.strictObject({
  batchSize: z.int().min(1).max(MAX_ROWS).optional(),
  wait: z.int().min(1).max(FLUSH_WAIT_MS).optional(),
  onProgress: z
    .custom<(progress: FlushResult) => void>((value) => typeof value === 'function', 'a function')
    .optional(),
});
/** Far more than the longest text has, which is one token a byte at worst. */
const MOST_TOKENS = 2 * TEXT_BYTES;
/** Only the first wrong one is told: a million of them would take seconds to be told of. */
const tokenIds = listOf(z.unknown(), MOST_TOKENS).superRefine((ids, context) => {
  const index = ids.findIndex((id) => !(Number.isInteger(id) && (id as number) >= 0 && (id as number) <= 0xffff_ffff));
  if (index === -1) return;
  context.addIssue({
    code: 'custom',
    path: [index],
    message: 'a whole number from 0 to 4294967295',
    input: ids[index],
  });
}) as z.ZodType<number[]>;
const cidText = z.string().max(200).refine(isCid, 'a CID such as bafkrei…');

/**
 * The one way into Mnemoq's memory. Saves resolve when Redis has the record; reads give every record whose worker is
 * through, once, in order. Every call throws `MnemoqError`, whose `code` says what to do about it.
 */
export class MemoryCore {
  readonly #config: ReturnType<typeof loadStoreConfig>;
  readonly #redis: RedisClient;
  readonly #shortTerm: ShortTerm;
  readonly #pending: Pending;
  readonly #longTerm: LongTerm;
  readonly #reader: ContextReader;
  readonly #keyring: Keyring | null;
  readonly #submission: Submission;
  readonly #admission: Admission;

  /**
   * Connects with the settings of `environment` (default: the process's, with `.env`). Throws `invalid_configuration`
   * naming what is missing. Needs REDIS_URL, SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY; IPFS_API_URL for `verify`,
   * MEMORY_ENCRYPTION_KEYS to read what is encrypted.
   */
  constructor(environment: Environment = readEnvironment()) {
    const config = loadStoreConfig(environment);
    const logger = createLogger(config.logLevel, 'mnemoq');
    const keys = new Keys(isClusterUrl(config.redisUrl));
    this.#config = config;
    this.#redis = connectProducerRedis(config.redisUrl, logger, config.redisTimeoutMs);
    this.#shortTerm = new ShortTerm(this.#redis, keys, {
      limit: config.shortTermLimit,
      ttlSeconds: config.redisTtlSeconds,
    });
    this.#pending = new Pending(this.#redis, keys);
    this.#longTerm = new LongTerm(config);
    this.#reader = new ContextReader(this.#shortTerm, this.#longTerm);
    this.#keyring = config.encryptionKeys ? new Keyring(config.encryptionKeys) : null;
    this.#submission = new Submission(
      this.#redis,
      () => connectWorkerRedis(config.redisUrl, logger),
      keys,
      config.redisTimeoutMs,
    );
    this.#admission = new Admission(this.#redis, config.redisMaxUsedPercent);
  }

  /**
   * Saves a turn. Resolves when Redis has it in the queue, or with `wait` when it is cached (and, when `important` or in
   * write mode `immediate`, committed). The same `id`, or the same `idempotencyKey` of the same user and conversation,
   * is the same record: saving it again changes nothing.
   */
  async saveChat(input: ChatInput, options: SaveOptions = {}): Promise<Receipt> {
    const job = newChatJob(input);
    const wait = waitMs(options);
    await this.#admit();
    const queued = await this.#submission.add('chat', job, { jobId: job.id });
    if (wait === null) return receiptOf(job, { note: 'queued' });
    const ending = await this.#submission.ending<ChatResult>('chat', queued, wait);
    if (!ending) return receiptOf(job, { note: `queued; not seen cached within ${wait} ms, it will be` });
    if ('failedReason' in ending) throw rejected(ending.failedReason);
    const { supabaseStored, tokenCount } = ending.result;
    return receiptOf(job, {
      tokenCount,
      supabaseStored,
      note: supabaseStored ? 'committed' : 'cached; committed by the next flush',
    });
  }

  /** Saves up to 1000 turns (16 MiB of text) at once, all or none, in one round trip; gives their ids in order. */
  async saveChats(inputs: readonly ChatInput[]): Promise<string[]> {
    const jobs = newChatJobs(inputs);
    await this.#admit();
    await this.#submission.addAll(
      'chat',
      jobs.map((data) => ({ data, jobId: data.id })),
    );
    return jobs.map(({ id }) => id);
  }

  /** Saves a reflection: committed at once, then pinned. With `wait` the receipt has its CID. Private unless said otherwise. */
  async saveReflection(input: ReflectionInput, options: SaveOptions = {}): Promise<Receipt> {
    const job = newReflectionJob(input);
    const wait = waitMs(options);
    await this.#admit();
    const queued = await this.#submission.add('reflection', job, { jobId: job.id });
    if (wait === null) return receiptOf(job, { note: 'queued' });
    const ending = await this.#submission.ending<ReflectionResult>('reflection', queued, wait);
    if (!ending) return receiptOf(job, { note: `queued; not seen pinned within ${wait} ms, it will be` });
    if ('failedReason' in ending) throw rejected(ending.failedReason);
    const { cid, tokenCount } = ending.result;
    return receiptOf(job, { tokenCount, cid, supabaseStored: true, note: 'committed and pinned' });
  }

  /** The whole conversation in order, page by page. `limit` is 100 unless given, 1000 at most. */
  async getMemoryContext(
    contextId: string,
    options: { cursor?: string; limit?: number; allowPartial?: boolean } = {},
  ): Promise<ContextPage> {
    validate(identifier, contextId, 'contextId');
    const { cursor, limit = 100, allowPartial = false } = validate(pageOptions, options, 'the options');
    const position = cursor === undefined ? null : fromCursor(cursor);
    const { records, complete } = await this.#read(this.#reader.after(contextId, position, limit, allowPartial));
    const last = records.at(-1);
    return {
      contextId,
      records: format('turns', records, this.#keyring),
      nextCursor: last && records.length === limit ? toCursor(last) : null,
      complete,
    };
  }

  /**
   * The newest records that fit, oldest first: at most `limit` (100, or 1000 when only `maxTokens` is given) and at most
   * `maxTokens` tokens by their stored counts. `format` is `turns` (texts), `messages` (for a chat model) or `tokens`.
   */
  async loadRecentContext<F extends ContextFormat = 'turns'>(
    contextId: string,
    options: { limit?: number; maxTokens?: number; format?: F; allowPartial?: boolean } = {},
  ): Promise<RecentContext<F>> {
    validate(identifier, contextId, 'contextId');
    const { limit, maxTokens, format: given, allowPartial = false } = validate(recentOptions, options, 'the options');
    const as = (given ?? 'turns') as F;
    const { records, complete } = await this.#readBudget(contextId, limit, maxTokens, allowPartial);
    const tokenCount = records.reduce((sum, record) => sum + countTokens(record.tokens), 0);
    return { contextId, format: as, tokenCount, items: format(as, records, this.#keyring), complete };
  }

  /** The CID of the conversation's newest pinned reflection; null when there is none. */
  async getReflectionCid(contextId: string): Promise<string | null> {
    const reflections = await this.getReflections(contextId);
    return reflections.find(({ pinnedAt }) => pinnedAt !== null)?.cid ?? null;
  }

  /** A conversation's reflections, newest first, 1000 at most. */
  async getReflections(contextId: string): Promise<Reflection[]> {
    validate(identifier, contextId, 'contextId');
    const rows = await this.#longTerm.reflections(contextId, MAX_ROWS);
    return rows.map((row) => ({
      id: row.id,
      cid: row.cid,
      sha256: row.sha256,
      signature: row.signature,
      visibility: row.visibility,
      sourceIds: row.source_ids,
      pinnedAt: row.pinned_at && new Date(row.pinned_at).toISOString(),
      createdAt: new Date(row.created_at).toISOString(),
    }));
  }

  /** How far a record has come. Throws `not_found` when nothing knows it. */
  async getStatus(id: string): Promise<RecordStatus> {
    const known = validate(recordId, id, 'id');
    const parts = {
      pending: this.#pending,
      shortTerm: this.#shortTerm,
      longTerm: this.#longTerm,
      submission: this.#submission,
    };
    return this.#read(findStatus(known, parts));
  }

  /**
   * Commits everything that is pending now and waits for it. `success` is false when Supabase could not be reached:
   * everything is kept and tried again. `failedCount` are records refused for their content, now in quarantine.
   */
  async flushRedisToSupabase(
    options: { batchSize?: number; wait?: number; onProgress?: (progress: FlushResult) => void } = {},
  ): Promise<FlushResult & { reason: string | null }> {
    const { batchSize, wait = FLUSH_WAIT_MS, onProgress } = validate(flushOptions, options, 'the options');
    const data = { reason: 'on-demand', ...(batchSize && { batchSize }) };
    const job = await this.#submission.add('flush', data, {}, 'asking for a flush');
    const listener = onProgress && ((progress: unknown) => onProgress(progress as FlushResult));
    const ending = await this.#submission.ending<FlushResult>('flush', job, wait, listener);
    if (!ending) {
      throw new MnemoqError(
        'timeout',
        `the flush has not ended within ${wait} ms; it goes on (is a flush worker running?)`,
      );
    }
    if ('result' in ending) return { ...ending.result, reason: null };
    const nothing = { totalPending: await this.#pending.length(), flushedCount: 0, failedCount: 0, batches: 0 };
    const done = ending.job.progress as unknown;
    return {
      ...(typeof done === 'object' ? (done as FlushResult) : nothing),
      success: false,
      reason: ending.failedReason,
    };
  }

  /** Lengths, ages and limits, and whether anything needs attention. */
  async getStats(): Promise<Stats> {
    const parts = { config: this.#config, redis: this.#redis, pending: this.#pending, submission: this.#submission };
    return this.#read(collectStats(parts));
  }

  /** The text behind token ids. */
  decode(tokens: readonly number[], encoding: Encoding = this.#config.encoding): string {
    return decode(validate(tokenIds, tokens, 'tokens'), validate(z.enum(ENCODINGS), encoding, 'encoding'));
  }

  /** A record with its text and token ids, from Redis while it is there, else from Supabase. */
  async inspect(id: string): Promise<Inspection> {
    const known = validate(recordId, id, 'id');
    const { record, foundIn } = await this.#read(this.#find(known));
    const tokens = { id: record.id, ...openTokens(record.tokens, this.#keyring, record.id) };
    return { record: toContextRecord(record, this.#keyring), tokens, foundIn };
  }

  /** Checks a pinned reflection from its CID to its row and its tokens, link by link. */
  async verify(cid: string): Promise<Verification> {
    validate(cidText, cid, 'cid');
    const { ipfsApiUrl, ipfsTimeoutMs } = this.#config;
    if (ipfsApiUrl === undefined) {
      throw new MnemoqError(
        'invalid_configuration',
        "IPFS_API_URL: expected the URL of a Kubo node's RPC, found nothing",
      );
    }
    return verifyCid(cid, {
      ipfs: new Ipfs(ipfsApiUrl, ipfsTimeoutMs),
      longTerm: this.#longTerm,
      keyring: this.#keyring,
    });
  }

  /** Records Supabase refused for their content, oldest first, 1000 at most. */
  async listQuarantined(): Promise<QuarantinedRecord[]> {
    return this.#read(listQuarantined(this.#submission));
  }

  /** Tries a quarantined record again, with a mended row if one is given, and waits for the end; false when refused again. */
  async retryQuarantined(
    id: string,
    row?: unknown,
    wait = RETRY_WAIT_MS,
  ): Promise<{ committed: boolean; reason: string | null }> {
    return retryQuarantined(validate(recordId, id, 'id'), row, wait, this.#submission);
  }

  /** Lets go of all connections; saves that have resolved are safe. */
  async close(): Promise<void> {
    await this.#submission.close();
    this.#redis.disconnect();
  }

  async #admit(): Promise<void> {
    await withinTime(this.#admission.admit(), this.#config.redisTimeoutMs, 'saving');
  }

  /** Reads are bounded by Redis's time and, where Supabase is asked, by Supabase's. */
  async #read<T>(work: Promise<T>): Promise<T> {
    return withinTime(work, this.#config.redisTimeoutMs + this.#config.supabaseTimeoutMs, 'reading');
  }

  async #readBudget(
    contextId: string,
    limit: number | undefined,
    maxTokens: number | undefined,
    allowPartial: boolean,
  ) {
    const read = (count: number) => this.#read(this.#reader.recent(contextId, count, allowPartial));
    const first = await read(limit ?? this.#shortTerm.limit);
    if (maxTokens === undefined) return first;
    const fitting = withinBudget(first.records, maxTokens);
    // Everything in the cache fits and there may be more: only then is the long term worth asking.
    const roomLeft = limit === undefined && fitting.length === this.#shortTerm.limit;
    const all = roomLeft ? await read(BUDGET_RECORDS) : first;
    return { records: withinBudget(all.records, maxTokens), complete: all.complete };
  }

  async #find(id: string): Promise<{ record: MemoryRecord; foundIn: 'redis' | 'supabase' }> {
    const located = await this.#pending.locate(id);
    const [cached] = located ? await this.#shortTerm.find(located.contextId, [id]) : [];
    if (cached) return { record: cached, foundIn: 'redis' };
    const record = await this.#longTerm.find(id);
    if (!record) throw new MnemoqError('not_found', `no record with id ${id}`);
    return { record, foundIn: 'supabase' };
  }
}

function loadStoreConfig(environment: Environment) {
  return loadConfig(environment, STORE_SETTINGS);
}

function rejected(reason: string): MnemoqError {
  return new MnemoqError('invalid_input', `the worker refused it: ${reason}`);
}
