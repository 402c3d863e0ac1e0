import { readArchive } from '../shared/pinning/archive.ts';
import type { Environment } from '../shared/settings/config.ts';
import { readEnvironment } from '../shared/settings/environment.ts';
import type { Metrics } from '../shared/telemetry/metrics.ts';
import type { Following, FollowOptions } from '../shared/short-term/event-feed.ts';
import {
  type ChatInput,
  type FinetuneInput,
  type KnowledgeInput,
  type ReflectionInput,
  type ReflectionRequest,
} from '../shared/records/jobs.ts';
import type { WithConversation } from '../shared/records/conversation-id.ts';
import type { Reflector } from '../shared/process/reflector.ts';
import type { Encoding } from '../shared/records/tokenizer.ts';
import { type ArchiveOptions, type ArchivePart, countArchive, exportArchive } from './keeping/archive.ts';
import { type CacheRestoration, type CacheRestorationOptions, restoreCache } from './keeping/cache-restoration.ts';
import type { ContextFormat } from './reading/context.ts';
import { type Conversation, type ConversationsOptions, listConversations } from './reading/conversations.ts';
import { fetchDocuments, type ArchiveRestorationOptions, restoreDocuments } from './keeping/document-restoration.ts';
import type { DocumentRestoration } from './keeping/restored-rows.ts';
import { type ErasureReceipt, forget, type ForgetOptions, liftErasure } from './keeping/erasure.ts';
import { flushNow, type FlushOptions, type FlushReceipt } from './saving/flushing.ts';
import { type KnowledgeItem, type KnowledgeOptions, listKnowledge } from './reflections/knowledge.ts';
import { importKnowledge, type KnowledgeImport } from './reflections/knowledge-import.ts';
import { newFinetuneJob, newKnowledgeJob, newReflectionJob } from './saving/new-job.ts';
import type { Page } from './parts/page.ts';
import { connectCalls, type CallParts } from './parts/call-parts.ts';
import { type Trace, type TraceOptions, traceReflection } from './reflections/provenance.ts';
import { listQuarantined, type QuarantinedRecord, type QuarantineOptions } from './saving/quarantine-list.ts';
import { retryQuarantined, type RetryOptions, type RetryResult } from './saving/quarantine-retry.ts';
import {
  type ContextPage,
  inReadTime,
  type Inspection,
  inspectRecord,
  type ContextPageOptions,
  readPage,
  readRecent,
  type RecentContext,
  type RecentOptions,
  type ReadOptions,
} from './reading/reading.ts';
import {
  reflectWith,
  type ReflectionRequestReceipt,
  type ReflectorOptions,
  requestReflection,
} from './reflections/reflecting.ts';
import type { Receipt, SaveOptions } from './saving/receipt.ts';
import {
  type ConversationReflectionsOptions,
  type ListedReflection,
  listReflections,
  newestCid,
  readReflections,
  type ReflectionPage,
  type ReflectionsOptions,
} from './reflections/reflections.ts';
import { rekey, type RekeyOptions, type RekeyProgress } from './keeping/rekeying.ts';
import { savePinned, saveTurn, saveTurns } from './saving/saving.ts';
import { search, type SearchOptions, type SearchResult } from './questions/search.ts';
import { collectStats, type Stats } from './reading/stats.ts';
import { readStatus, type RecordStatus } from './reading/status.ts';
import type { EventHandler } from './parts/subscriptions.ts';
import { countTrainingData, type TrainingDataOptions, exportTrainingData } from './questions/training-data.ts';
import { readTrends, type Trends, type TrendsOptions } from './questions/trends.ts';
import { type Verification, verify } from './reflections/verify.ts';
import { decodeTokenIds } from './reading/decoding.ts';
import { type VerifiedReflection, verifyAll, type VerifyAllOptions } from './reflections/verify-all.ts';

/**
 * The one way into Mnemoq's memory. A save resolves when Redis has the record. A read gives every record whose worker
 * is done, once, in `(createdAt, id)` order.
 *
 * Every call throws `MnemoqError`, whose `code` says what to do. Every call throws `invalid_input` for a value that is
 * wrong; its `problems` name each wrong field. A call that asks Redis throws `redis_unavailable` when Redis does not
 * answer within MEMORY_REDIS_TIMEOUT_MS, and one that needs Supabase throws `supabase_unavailable` when Supabase is
 * away, refuses the key or lacks the tables. A call that opens what is sealed throws `key_missing` when
 * MEMORY_ENCRYPTION_KEYS lacks the key, `sealed_data_damaged` when the data was altered, and `plain_data_refused` for
 * tokens that are plain although MEMORY_ENCRYPT_TOKENS is true. The documentation of a call names these codes again
 * only where something is special about them.
 *
 * A read with the option `userId` sees only the records of that user; all other records are as if they did not exist. A
 * list gives pages of `limit` items, 100 by default and at most 1000 unless its documentation says otherwise, and the
 * `nextCursor` of a page is the option `cursor` of the next.
 */
export class MemoryCore {
  readonly #parts: CallParts;
  readonly #reflectors = new Set<() => Promise<void>>();

  /**
   * Connects with the settings of `environment`, by default those of the process and of `.env`. REDIS_URL, SUPABASE_URL
   * and SUPABASE_SERVICE_ROLE_KEY are needed by every call, IPFS_API_URL by those that ask IPFS, and
   * MEMORY_ENCRYPTION_KEYS by those that read what is encrypted. Throws `invalid_configuration`, which names every
   * setting that is missing or wrong.
   */
  constructor(environment: Environment = readEnvironment()) {
    this.#parts = connectCalls(environment);
  }

  /** For Prometheus: what this process has saved and read, and the state of queues and stores. */
  get metrics(): Metrics {
    return this.#parts.metrics;
  }

  /**
   * Saves a turn. Resolves when Redis has it in the queue. With `wait` (milliseconds up to 600000, or `true` for 30000)
   * it resolves when the turn is cached, and when it is committed as well if `important` is true or MEMORY_WRITE_MODE
   * is `immediate`; a wait that ends too early is no error, the note of the receipt says so. `id` and `createdAt` are
   * given by Mnemoq when they are missing. The same `id`, or the same `idempotencyKey` of the same user and
   * conversation, is the same record, and saving it again changes nothing.
   *
   * Throws `redis_full` when Redis is nearly full and `erased` when the user or the conversation was erased; nothing is
   * stored then. Throws `invalid_input` as well when it waits and the worker refuses the turn.
   */
  async saveChat(input: WithConversation<ChatInput>, options: SaveOptions = {}): Promise<Receipt> {
    return saveTurn(input, options, this.#parts);
  }

  /**
   * Saves up to 1000 turns, whose texts have at most 16 MiB together, in one round trip: all of them or none. Gives
   * their receipts in the order of the turns. With `wait`, as in `saveChat`, it resolves when all of them are cached.
   * Throws what `saveChat` throws.
   */
  async saveChats(
    inputs: readonly WithConversation<ChatInput>[],
    options: SaveOptions = {},
  ): Promise<{ items: Receipt[] }> {
    return saveTurns(inputs, options, this.#parts);
  }

  /**
   * Saves a reflection, which is committed at once and then pinned to IPFS. `visibility` is `private` by default: the
   * document on IPFS is encrypted with a key of its own. `sourceIds` are the ids of at most 1000 records it was made
   * from. With `wait`, as in `saveChat`, it resolves when the reflection is pinned, and the receipt has its CID. Throws
   * what `saveChat` throws.
   */
  async saveReflection(input: WithConversation<ReflectionInput>, options: SaveOptions = {}): Promise<Receipt> {
    return savePinned(() => newReflectionJob(input), options, this.#parts);
  }

  /**
   * Saves what a training has produced, such as a model card or an evaluation, in the way of a reflection. Options,
   * result and errors are those of `saveReflection`.
   */
  async saveFinetuneOutput(input: WithConversation<FinetuneInput>, options: SaveOptions = {}): Promise<Receipt> {
    return savePinned(() => newFinetuneJob(input), options, this.#parts);
  }

  /**
   * Saves a text that everybody may read. It is pinned in clear and listed by `listKnowledge`. Options, result and
   * errors are those of `saveReflection`.
   */
  async saveKnowledge(input: WithConversation<KnowledgeInput>, options: SaveOptions = {}): Promise<Receipt> {
    return savePinned(() => newKnowledgeJob(input), options, this.#parts);
  }

  /**
   * Takes over a knowledge item of another Mnemoq from its `cid` alone. The item keeps the id, time and signature that
   * its author gave it, and is pinned here. It is filed in the conversation that its document names, unless `contextId`
   * names another one, and belongs to `userId`, by default to nobody. With `trustedKeys` (at most 100 public keys in
   * base64url) only an item that one of them, or this Mnemoq itself, has signed is taken. The options are those of
   * `saveReflection`. Importing an item again changes nothing.
   *
   * CID, document, signature and digest are checked before anything is stored. Throws `unverified` naming what does not
   * hold, `invalid_configuration` without IPFS_API_URL, `ipfs_unavailable` when the node cannot fetch the document, and
   * what `saveChat` throws.
   */
  async importKnowledge(request: KnowledgeImport, options: SaveOptions = {}): Promise<Receipt> {
    return importKnowledge(request, options, this.#parts);
  }

  /**
   * A conversation in order, oldest record first, page by page. With `allowPartial` the records in Redis are given when
   * Supabase is away, and `complete` is then false; without it such a read throws `supabase_unavailable`.
   */
  async getMemoryContext(contextId: string, options: ContextPageOptions = {}): Promise<ContextPage> {
    return readPage(contextId, options, this.#parts);
  }

  /**
   * The newest records that fit, oldest first: at most `limit` records (MEMORY_SHORT_TERM_LIMIT by default, 1000 when
   * `maxTokens` is given alone, at most 1000) and at most `maxTokens` tokens by their stored counts. `format` is
   * `turns` (texts, the default), `messages` (for a chat model) or `tokens` (token ids). `allowPartial` is that of
   * `getMemoryContext`.
   */
  async loadRecentContext<F extends ContextFormat = 'turns'>(
    contextId: string,
    options: RecentOptions<F> = {},
  ): Promise<RecentContext<F>> {
    return readRecent(contextId, options, this.#parts);
  }

  /** The CID of the newest pinned reflection of a conversation; null when there is none. */
  async getReflectionCid(contextId: string, options: ReadOptions = {}): Promise<string | null> {
    return newestCid(contextId, options, this.#parts);
  }

  /** The reflections of a conversation, newest first, page by page. */
  async getReflections(contextId: string, options: ConversationReflectionsOptions = {}): Promise<ReflectionPage> {
    return readReflections(contextId, options, this.#parts);
  }

  /**
   * Asks the reflector for a reflection now, of the turns of `userId` in a conversation, or of everybody's turns
   * without it. `focus` (at most 2000 characters) says what it should be about. Resolves when Redis has the request,
   * which takes the place of one for the same turns that was not begun yet. `onReflection` tells the CID of the
   * reflection. Throws `redis_full` when Redis is nearly full.
   */
  async requestReflection(request: ReflectionRequest): Promise<ReflectionRequestReceipt> {
    return requestReflection(request, this.#parts);
  }

  /**
   * Makes `reflector` write the reflections that are due, in this process, instead of one behind MEMORY_REFLECTOR_URL.
   * At most `concurrency` calls of it run at once, 5 by default and at most 1000. When it throws, it is called again
   * later; the text that it gives is saved as a private reflection. Gives a function that stops this; `close` stops it
   * as well.
   */
  reflectWith(reflector: Reflector, options: ReflectorOptions = {}): () => Promise<void> {
    const stop = reflectWith(reflector, options, this.#parts);
    this.#reflectors.add(stop);
    return async () => {
      this.#reflectors.delete(stop);
      await stop();
    };
  }

  /**
   * Reflections, fine-tune outputs and knowledge of all conversations, newest first, page by page. `contextId`,
   * `module`, `cid`, `from` (inclusive) and `to` (exclusive), both ISO 8601 with a zone, say which ones.
   */
  async listReflections(options: ReflectionsOptions = {}): Promise<Page<ListedReflection>> {
    return listReflections(options, this.#parts);
  }

  /**
   * Where a reflection, given by its CID or its id, comes from: the records from which it was made, the reflection
   * before it, the records from which that one was made, and so on, over `limit` reflections, 20 by default and at most
   * 100. What is gone is marked as missing. Throws `not_found` when there is no such reflection.
   */
  async traceReflection(address: string, options: TraceOptions = {}): Promise<Trace> {
    return traceReflection(address, options, this.#parts);
  }

  /** Conversations in the order of their ids, page by page. With `prefix` only those whose id begins with it. */
  async listConversations(options: ConversationsOptions = {}): Promise<Page<Conversation>> {
    return listConversations(options, this.#parts);
  }

  /**
   * What was shared as public, newest first, page by page. With `query` only what contains that text, in capitals or
   * not; such a page may be empty without being the last. With `userId` what that user has shared and what belongs to
   * nobody.
   */
  async listKnowledge(options: KnowledgeOptions = {}): Promise<Page<KnowledgeItem>> {
    return listKnowledge(options, this.#parts);
  }

  /**
   * The records that have most words of `query`, best first, by BM25 over the stored tokens. `limit` is 10 by default
   * and at most 100; `contextId` keeps to one conversation. Throws `invalid_configuration` when MEMORY_ENCRYPT_TOKENS
   * is true and when the database lacks the optional part of the schema for searching.
   */
  async search(options: SearchOptions): Promise<SearchResult> {
    return search(options, this.#parts);
  }

  /**
   * Turns, tokens and reflections of committed records per `bucket` (`hour`, `day` or `week`, in `timeZone`, which is
   * UTC by default), from `from` until before `to`, both ISO 8601 with a zone, over at most 999 buckets. `userId` and
   * `contextId` say whose.
   */
  async getTrends(options: TrendsOptions): Promise<Trends> {
    return readTrends(options, this.#parts);
  }

  /**
   * Committed records as lines of JSON for a training, oldest first; any number of them takes the same memory. `format`
   * is `tokens`, `openai` or `sharegpt`; `module`, `userId`, `contextId`, `from` (inclusive) and `to` (exclusive) say
   * which records. The options are checked before the first line; reading errors are thrown while it is iterated over.
   */
  exportTrainingData(options: TrainingDataOptions): AsyncIterableIterator<string> {
    return exportTrainingData(options, this.#parts);
  }

  /** How many lines `exportTrainingData` would give with the same options, for a progress bar. */
  async countTrainingData(options: TrainingDataOptions): Promise<number> {
    return countTrainingData(options, this.#parts);
  }

  /** How many documents `exportArchive` would find with the same options, for a progress bar. */
  async countArchive(options: ArchiveOptions = {}): Promise<number> {
    return countArchive(options, this.#parts);
  }

  /**
   * Pinned documents as the parts of a CAR file; any number of them takes the same memory. `withKeys` (false by
   * default) adds whose they are and the wrapped keys of private ones, without which those cannot be restored.
   * `module`, `userId`, `contextId`, `from` (inclusive) and `to` (exclusive) say which documents. Throws
   * `invalid_configuration` without IPFS_API_URL, and `ipfs_unavailable` when the node goes away while it is iterated
   * over.
   */
  exportArchive(options: ArchiveOptions = {}): AsyncIterableIterator<ArchivePart> {
    return exportArchive(options, this.#parts);
  }

  /**
   * Fills a Redis that was lost with the newest records of every conversation, or of those with a record from `from`
   * on. Reads would do the same, one conversation after the other. `onProgress` is called with what is done so far.
   * Throws `redis_full` before Redis is full.
   */
  async restoreCache(options: CacheRestorationOptions = {}): Promise<CacheRestoration> {
    return restoreCache(options, this.#parts);
  }

  /**
   * Makes the rows of pinned records again, in a Supabase that has lost them, from the bytes of a CAR file, and pins
   * their documents here. Only what this Mnemoq or one of `trustedKeys` (at most 100 public keys in base64url) has
   * signed is restored, and nothing of an erased user or conversation; the result says what became of each document.
   * `onProgress` is called with what is done so far.
   *
   * Throws `invalid_input` for bytes that are no such archive, `invalid_configuration` without IPFS_API_URL, or without
   * any of MEMORY_SIGNING_KEY, MEMORY_RETIRED_SIGNING_KEYS and `trustedKeys`, and `ipfs_unavailable` when the node goes
   * away.
   */
  async restoreArchive(
    file: AsyncIterable<Uint8Array>,
    options: ArchiveRestorationOptions = {},
  ): Promise<DocumentRestoration> {
    return restoreDocuments(readArchive(file), options, this.#parts);
  }

  /**
   * Does the same from CIDs alone, as the IPFS node has the documents. It restores public documents only, because
   * nobody can know whose the private ones are, nor their keys. Options, result and errors are those of
   * `restoreArchive`.
   */
  async restoreCids(
    cids: AsyncIterable<string>,
    options: ArchiveRestorationOptions = {},
  ): Promise<DocumentRestoration> {
    return restoreDocuments(fetchDocuments(cids, this.#parts), options, this.#parts);
  }

  /**
   * How far a record has come: `queued`, `cached`, `committed`, `pinned`, `quarantined` or `failed`, with times and a
   * reason. Throws `not_found` when no tier knows the record.
   */
  async getStatus(id: string, options: ReadOptions = {}): Promise<RecordStatus> {
    return readStatus(id, options, this.#parts);
  }

  /**
   * Commits everything that is pending now, in batches of `batchSize` rows (MEMORY_FLUSH_BATCH_SIZE by default, at most
   * 1000), and waits for that, at most `wait` milliseconds (`true`, which means 600000, by default and at most);
   * with `wait: false` it resolves when the flush is queued, and `reason` says so. `onProgress` is called with
   * what is done so far. `success` is false, with a `reason`, when not everything could be committed; what was not is
   * kept and tried again. `failedCount` are records that Supabase refused for their content and that are in quarantine
   * now. Throws `timeout` when the flush has not ended by then; it goes on.
   */
  async flushRedisToSupabase(options: FlushOptions = {}): Promise<FlushReceipt> {
    return flushNow(options, this.#parts);
  }

  /**
   * Lengths, ages and limits of what is stored and queued, and in words whether anything needs the attention of a
   * person.
   */
  async getStats(): Promise<Stats> {
    return inReadTime(collectStats(this.#parts), this.#parts);
  }

  /** The text behind at most 4194304 token ids of `encoding`, which is MEMORY_ENCODING by default. Asks no store. */
  decode(tokens: readonly number[], encoding: Encoding = this.#parts.config.encoding): string {
    return decodeTokenIds(tokens, encoding);
  }

  /**
   * A record with its text and its token ids, and where it was found: in Redis while it is there, otherwise in
   * Supabase. Throws `not_found` when neither has it.
   */
  async inspect(id: string, options: ReadOptions = {}): Promise<Inspection> {
    return inspectRecord(id, options, this.#parts);
  }

  /**
   * Checks a pinned record link by link, from its CID to its row and its tokens. A check that fails is no error: the
   * result says which ones hold. Throws `invalid_configuration` without IPFS_API_URL, and with `userId` `not_found`
   * when no record of that user has this CID.
   */
  async verify(cid: string, options: ReadOptions = {}): Promise<Verification> {
    return verify(cid, options, this.#parts);
  }

  /**
   * Checks every pinned record in the same way, or those of `userId` or in `contextId`, one after the other while it is
   * iterated over. Throws `invalid_configuration` without IPFS_API_URL.
   */
  verifyAll(options: VerifyAllOptions = {}): AsyncIterableIterator<VerifiedReflection> {
    return verifyAll(options, this.#parts);
  }

  /**
   * Records that Supabase has refused for their content, in the order in which it did, page by page. A page of one user
   * may be empty without being the last.
   */
  async listQuarantined(options: QuarantineOptions = {}): Promise<Page<QuarantinedRecord>> {
    return inReadTime(listQuarantined(options, this.#parts), this.#parts);
  }

  /**
   * Tries a record in quarantine again, with a mended row when `row` is given, and waits for the end, at most `wait`
   * milliseconds (`true`, which means 30000, by default; 600000 at most); with `wait: false` it resolves when the retry
   * is queued. `committed` is false, with Supabase's reason, when it is refused again. Throws `not_found` when no record with this id is in quarantine, and `timeout` when the retry has not ended
   * by then.
   */
  async retryQuarantined(id: string, options: RetryOptions = {}): Promise<RetryResult> {
    return retryQuarantined(id, options, this.#parts);
  }

  /**
   * Erases a user, a conversation, or a user in a conversation from queues, Redis, Supabase and IPFS. What comes late
   * for an erased user or conversation is refused until `liftErasure`. Waits up to an hour, and for workers to let go
   * of what they have in hand. When it throws, running it again finishes what is left: `timeout` when a worker or a
   * flush does not let go, `ipfs_unavailable` when the node does not answer, and `invalid_configuration` when something
   * is pinned and IPFS_API_URL is missing.
   */
  async forget(options: ForgetOptions): Promise<ErasureReceipt> {
    return forget(options, this.#parts);
  }

  /** Takes records of an erased user or conversation again. False when the user or conversation was not erased. */
  async liftErasure(options: ForgetOptions): Promise<boolean> {
    return liftErasure(options, this.#parts);
  }

  /**
   * Seals with the first key of MEMORY_ENCRYPTION_KEYS what is sealed with another one, everywhere, while everything
   * else runs. With `sealPlain` it also seals what is plain and must be encrypted; with `dryRun` it only counts; both
   * are false by default. It runs while it is iterated over, and a new run goes on where a stopped one was. `left` of
   * the last step says what is still sealed with which other key.
   *
   * Throws `invalid_configuration` without MEMORY_ENCRYPTION_KEYS, or when `sealPlain` is given and nothing must be
   * encrypted, and `timeout` when workers do not let go of what they have in hand; then it is to be run again.
   */
  rekey(options: RekeyOptions = {}): AsyncIterableIterator<RekeyProgress> {
    return rekey(options, this.#parts);
  }

  /**
   * Calls `handler` once for every turn that anybody saves from now on, when its worker has cached it. Gives a function
   * that ends that; `close` ends it as well. An error of the handler is logged.
   */
  onTurnSaved(handler: EventHandler<'record.cached'>): () => void {
    return this.#parts.subscriptions.subscribe('record.cached', handler, ({ data }) => data.module === 'chat');
  }

  /**
   * Calls `handler` in the same way for every reflection, fine-tune output and knowledge item that is pinned, in rare
   * cases twice.
   */
  onReflection(handler: EventHandler<'record.pinned'>): () => void {
    return this.#parts.subscriptions.subscribe('record.pinned', handler);
  }

  /**
   * Follows what happens to records, until `signal` is aborted: what comes after `cursor`, which is the one of an
   * earlier event or `0` for all that is kept, and without it what happens from now on. `userId` and `types` say which
   * events. Waits for a Redis that is away; throws `redis_unavailable` only when it is away at the beginning and no
   * `cursor` is given. Throws `invalid_input` for a cursor that no event had.
   */
  async followEvents(options: FollowOptions): Promise<Following> {
    const { events } = this.#parts;
    const cursor = options.cursor ?? (await inReadTime(events.now(), this.#parts));
    return { cursor, events: events.follow({ ...options, cursor }) };
  }

  /** Lets go of all connections. Saves that have resolved are safe. */
  async close(): Promise<void> {
    this.#parts.subscriptions.close();
    await Promise.all([...this.#reflectors].map((stop) => stop()));
    await this.#parts.close();
  }
}
