import { z } from 'zod';
import { readArchive } from '../shared/pinning/archive.ts';
import type { Environment } from '../shared/settings/config.ts';
import { readEnvironment } from '../shared/settings/environment.ts';
import type { Metrics } from '../shared/telemetry/metrics.ts';
import type { Followed, FollowOptions } from '../shared/short-term/event-feed.ts';
import type { FlushResult } from '../shared/queues.ts';
import {
  type ChatInput,
  type FinetuneInput,
  type KnowledgeInput,
  type ReflectionInput,
  type ReflectionRequest,
  TEXT_BYTES,
} from '../shared/records/jobs.ts';
import type { WithConversation } from '../shared/records/conversation-id.ts';
import { recordId } from '../shared/identifiers.ts';
import type { Reflector } from '../shared/process/reflector.ts';
import { decode, type Encoding, ENCODINGS } from '../shared/records/tokenizer.ts';
import { listOf, validate } from '../shared/validate.ts';
import { type ArchiveOptions, type ArchivePart, countArchive, exportArchive } from './keeping/archive.ts';
import { type CacheRestoration, type CacheRestorationOptions, restoreCache } from './keeping/cache-restoration.ts';
import type { ContextFormat } from './reading/context.ts';
import { type Conversation, type ConversationsOptions, listConversations } from './reading/conversations.ts';
import { fetchDocuments, type RestorationOptions, restoreDocuments } from './keeping/document-restoration.ts';
import type { DocumentRestoration } from './keeping/restored-rows.ts';
import { type ErasureReceipt, forget, type ForgetOptions, liftErasure } from './keeping/erasure.ts';
import { flushNow, type FlushOptions } from './saving/flushing.ts';
import { type KnowledgeItem, type KnowledgeOptions, listKnowledge } from './reflections/knowledge.ts';
import { importKnowledge, type KnowledgeImportOptions } from './reflections/knowledge-import.ts';
import { newFinetuneJob, newKnowledgeJob, newReflectionJob } from './saving/new-job.ts';
import type { Page } from './parts/page.ts';
import { connectCalls, type CallParts } from './parts/call-parts.ts';
import { type Trace, type TraceOptions, traceReflection } from './reflections/provenance.ts';
import { listQuarantined, type QuarantinedRecord, type QuarantineOptions } from './saving/quarantine-list.ts';
import { retryQuarantined } from './saving/quarantine-retry.ts';
import {
  type ContextPage,
  inReadTime,
  type Inspection,
  inspectRecord,
  type PageOptions,
  readPage,
  readRecent,
  type RecentContext,
  type RecentOptions,
  type ReadOptions,
  userOf,
} from './reading/reading.ts';
import {
  reflectWith,
  type ReflectionRequestReceipt,
  type ReflectorOptions,
  requestReflection,
} from './reflections/reflecting.ts';
import type { Receipt, SaveOptions } from './saving/receipt.ts';
import {
  cidText,
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
import { findStatus, type RecordStatus } from './reading/status.ts';
import type { EventHandler } from './parts/subscriptions.ts';
import { countTrainingData, type ExportOptions, exportTrainingData } from './questions/training-data.ts';
import { readTrends, type Trends, type TrendsOptions } from './questions/trends.ts';
import { requireOwner, type Verification, verifyCid, verifyParts } from './reflections/verify.ts';
import { type VerifiedReflection, verifyAll, type VerifyAllOptions } from './reflections/verify-all.ts';

/** A retry is one request. */
const RETRY_WAIT_MS = 30_000;

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

/**
 * The one way into Mnemoq's memory. Saves resolve when Redis has the record; reads give every record whose worker is
 * through, once, in order. Every call throws `MnemoqError`, whose `code` says what to do about it.
 *
 * A read with `userId` sees only that user's records: anybody else's are as if they did not exist.
 */
export class MemoryCore {
  readonly #parts: CallParts;
  readonly #reflectors = new Set<() => Promise<void>>();

  /**
   * Connects with the settings of `environment` (default: the process's, with `.env`). Throws `invalid_configuration`
   * naming what is missing. Needs REDIS_URL, SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY; IPFS_API_URL for `verify`,
   * MEMORY_ENCRYPTION_KEYS to read what is encrypted.
   */
  constructor(environment: Environment = readEnvironment()) {
    this.#parts = connectCalls(environment);
  }

  /** What this process saved and read, and the state of queues and stores, for Prometheus. */
  get metrics(): Metrics {
    return this.#parts.metrics;
  }

  /**
   * Saves a turn. Resolves when Redis has it in the queue, or with `wait` when it is cached (and, when `important` or in
   * write mode `immediate`, committed). The same `id`, or the same `idempotencyKey` of the same user and conversation,
   * is the same record: saving it again changes nothing.
   */
  async saveChat(input: WithConversation<ChatInput>, options: SaveOptions = {}): Promise<Receipt> {
    return saveTurn(input, options, this.#parts);
  }

  /**
   * Saves up to 1000 turns (16 MiB of text) at once, all or none, in one round trip; gives their receipts in order. With
   * `wait` it resolves when all of them are cached.
   */
  async saveChats(
    inputs: readonly WithConversation<ChatInput>[],
    options: SaveOptions = {},
  ): Promise<{ items: Receipt[] }> {
    return saveTurns(inputs, options, this.#parts);
  }

  /** Saves a reflection: committed at once, then pinned. With `wait` the receipt has its CID. Private unless said otherwise. */
  async saveReflection(input: WithConversation<ReflectionInput>, options: SaveOptions = {}): Promise<Receipt> {
    const job = await this.metrics.countRefusal(() => newReflectionJob(input));
    return savePinned(job, options, this.#parts);
  }

  /** Saves what a training produced (a model card, an evaluation, …) the way of a reflection. Private unless said otherwise. */
  async saveFinetuneOutput(input: WithConversation<FinetuneInput>, options: SaveOptions = {}): Promise<Receipt> {
    const job = await this.metrics.countRefusal(() => newFinetuneJob(input));
    return savePinned(job, options, this.#parts);
  }

  /** Saves something everybody may read: pinned in clear, listed by `listKnowledge`. */
  async saveKnowledge(input: WithConversation<KnowledgeInput>, options: SaveOptions = {}): Promise<Receipt> {
    const job = await this.metrics.countRefusal(() => newKnowledgeJob(input));
    return savePinned(job, options, this.#parts);
  }

  /**
   * Takes over a knowledge item of another Mnemoq from its CID alone: kept under the id, time and signature its author gave it,
   * in the conversation its document names unless another is given, and pinned here. CID, document, signature and digest are
   * checked before anything is stored; `unverified` says which does not hold. With `trustedKeys` nobody else's signature is
   * taken. Importing it again changes nothing. Needs IPFS_API_URL.
   */
  async importKnowledge(
    cid: string,
    options: KnowledgeImportOptions = {},
    saveOptions: SaveOptions = {},
  ): Promise<Receipt> {
    return importKnowledge(cid, options, saveOptions, this.#parts);
  }

  /** The whole conversation in order, page by page. `limit` is 100 unless given, 1000 at most. */
  async getMemoryContext(contextId: string, options: PageOptions = {}): Promise<ContextPage> {
    return readPage(contextId, options, this.#parts);
  }

  /**
   * The newest records that fit, oldest first: at most `limit` (100, or 1000 when only `maxTokens` is given) and at most
   * `maxTokens` tokens by their stored counts. `format` is `turns` (texts), `messages` (for a chat model) or `tokens`.
   */
  async loadRecentContext<F extends ContextFormat = 'turns'>(
    contextId: string,
    options: RecentOptions<F> = {},
  ): Promise<RecentContext<F>> {
    return readRecent(contextId, options, this.#parts);
  }

  /** The CID of the conversation's newest pinned reflection; null when there is none. */
  async getReflectionCid(contextId: string, options: ReadOptions = {}): Promise<string | null> {
    return newestCid(contextId, options, this.#parts);
  }

  /** A conversation's reflections, newest first, page by page: 100 unless told otherwise, 1000 at most. */
  async getReflections(contextId: string, options: ConversationReflectionsOptions = {}): Promise<ReflectionPage> {
    return readReflections(contextId, options, this.#parts);
  }

  /**
   * Asks the reflector for a reflection now, of one user's turns in a conversation or of everybody's. Resolves when Redis
   * has the request; one that was not begun yet is replaced. The reflection's CID comes with `onReflection`.
   */
  async requestReflection(request: ReflectionRequest): Promise<ReflectionRequestReceipt> {
    return requestReflection(request, this.#parts);
  }

  /**
   * Makes `reflector` write the reflections that are due, in this process, instead of one behind MEMORY_REFLECTOR_URL. What
   * it throws has it tried again later; what it answers is saved as a private reflection. The function it gives ends that.
   */
  reflectWith(reflector: Reflector, options: ReflectorOptions = {}): () => Promise<void> {
    const stop = reflectWith(reflector, options, this.#parts);
    this.#reflectors.add(stop);
    return async () => {
      this.#reflectors.delete(stop);
      await stop();
    };
  }

  /** Reflections, fine-tune outputs and knowledge of all conversations, newest first, page by page: 100 unless told otherwise. */
  async listReflections(options: ReflectionsOptions = {}): Promise<Page<ListedReflection>> {
    return listReflections(options, this.#parts);
  }

  /**
   * Where a reflection, given by its CID or its id, comes from: the records it was made from and the reflection before it,
   * then that one's, 20 reflections back unless told otherwise. What is gone is marked missing. Throws `not_found`.
   */
  async traceReflection(address: string, options: TraceOptions = {}): Promise<Trace> {
    return traceReflection(address, options, this.#parts);
  }

  /** Conversations in the order of their ids, page by page. `limit` is 100 unless given, 1000 at most. */
  async listConversations(options: ConversationsOptions = {}): Promise<Page<Conversation>> {
    return listConversations(options, this.#parts);
  }

  /** What was shared as public, newest first, page by page; with `userId` that user's and what belongs to nobody. */
  async listKnowledge(options: KnowledgeOptions = {}): Promise<Page<KnowledgeItem>> {
    return listKnowledge(options, this.#parts);
  }

  /**
   * The records that have most of the query's words, best first, by BM25 over stored tokens; `limit` is 10 unless given, 100
   * at most. Throws `invalid_configuration` with MEMORY_ENCRYPT_TOKENS, and where the database lacks the optional search file.
   */
  async search(options: SearchOptions): Promise<SearchResult> {
    return search(options, this.#parts);
  }

  /** Turns, tokens and reflections per hour, day or week, of committed records; at most 999 buckets at once. */
  async getTrends(options: TrendsOptions): Promise<Trends> {
    return readTrends(options, this.#parts);
  }

  /** Committed records as lines of JSON for training, oldest first; any number of them in the same memory. */
  exportTrainingData(options: ExportOptions): AsyncIterableIterator<string> {
    return exportTrainingData(options, this.#parts);
  }

  /** How many lines `exportTrainingData` will give, for a progress bar. */
  async countTrainingData(options: ExportOptions): Promise<number> {
    return countTrainingData(options, this.#parts);
  }

  /** How many documents `exportArchive` would find. */
  async countArchive(options: ArchiveOptions = {}): Promise<number> {
    return countArchive(options, this.#parts);
  }

  /**
   * Pinned documents as the parts of a CAR file, for any number of them in the same memory. `withKeys` adds whose they are and
   * the wrapped keys of private ones, without which those cannot be restored. Needs IPFS_API_URL.
   */
  exportArchive(options: ArchiveOptions = {}): AsyncIterableIterator<ArchivePart> {
    return exportArchive(options, this.#parts);
  }

  /** Fills a Redis that was lost with the newest records of every conversation. Reads do the same, one by one. */
  async restoreCache(options: CacheRestorationOptions = {}): Promise<CacheRestoration> {
    return restoreCache(options, this.#parts);
  }

  /**
   * Makes the rows of pinned records again, in a Supabase that lost them, from the bytes of a CAR file. Only what this Mnemoq
   * or one of `trustedKeys` has signed; nothing of the erased. Needs MEMORY_SIGNING_KEY or `trustedKeys`, and IPFS_API_URL.
   */
  async restoreArchive(
    file: AsyncIterable<Uint8Array>,
    options: RestorationOptions = {},
  ): Promise<DocumentRestoration> {
    return restoreDocuments(readArchive(file), options, this.#parts);
  }

  /** The same from CIDs alone, of public documents: whose the others are, and their keys, nobody can know. */
  async restoreCids(cids: AsyncIterable<string>, options: RestorationOptions = {}): Promise<DocumentRestoration> {
    return restoreDocuments(fetchDocuments(cids, this.#parts), options, this.#parts);
  }

  /** How far a record has come. Throws `not_found` when nothing knows it. */
  async getStatus(id: string, options: ReadOptions = {}): Promise<RecordStatus> {
    const known = validate(recordId, id, 'id');
    return inReadTime(findStatus(known, userOf(options), this.#parts), this.#parts);
  }

  /**
   * Commits everything that is pending now and waits for it. `success` is false when Supabase could not be reached:
   * everything is kept and tried again. `failedCount` are records refused for their content, now in quarantine.
   */
  async flushRedisToSupabase(options: FlushOptions = {}): Promise<FlushResult & { reason: string | null }> {
    return flushNow(options, this.#parts);
  }

  /** Lengths, ages and limits, and whether anything needs attention. */
  async getStats(): Promise<Stats> {
    return inReadTime(collectStats(this.#parts), this.#parts);
  }

  /** The text behind token ids. */
  decode(tokens: readonly number[], encoding: Encoding = this.#parts.config.encoding): string {
    return decode(validate(tokenIds, tokens, 'tokens'), validate(z.enum(ENCODINGS), encoding, 'encoding'));
  }

  /** A record with its text and token ids, from Redis while it is there, else from Supabase. */
  async inspect(id: string, options: ReadOptions = {}): Promise<Inspection> {
    return inspectRecord(id, options, this.#parts);
  }

  /** Checks a pinned record from its CID to its row and its tokens, link by link. */
  async verify(cid: string, options: ReadOptions = {}): Promise<Verification> {
    validate(cidText, cid, 'cid');
    const userId = userOf(options);
    if (userId !== undefined) await requireOwner(cid, userId, this.#parts.longTerm);
    return verifyCid(cid, verifyParts(this.#parts));
  }

  /** The same of every reflection, or of a user's or a conversation's, one after the other. */
  verifyAll(options: VerifyAllOptions = {}): AsyncIterableIterator<VerifiedReflection> {
    return verifyAll(options, this.#parts);
  }

  /** Records Supabase refused for their content, oldest first, page by page: 100 unless told otherwise, 1000 at most. */
  async listQuarantined(options: QuarantineOptions = {}): Promise<Page<QuarantinedRecord>> {
    return inReadTime(listQuarantined(options, this.#parts), this.#parts);
  }

  /** Tries a quarantined record again, with a mended row if one is given, and waits for the end; false when refused again. */
  async retryQuarantined(
    id: string,
    row?: unknown,
    wait = RETRY_WAIT_MS,
  ): Promise<{ committed: boolean; reason: string | null }> {
    return retryQuarantined(id, row, wait, this.#parts);
  }

  /**
   * Erases a user, a conversation, or a user in a conversation from queues, Redis, Supabase and IPFS, and refuses what comes
   * late for an erased user or conversation until `liftErasure`. Waits for workers to let go of what they have in hand;
   * when it throws, nothing is wrong that running it again does not finish. Needs IPFS_API_URL where something is pinned.
   */
  async forget(options: ForgetOptions): Promise<ErasureReceipt> {
    return forget(options, this.#parts);
  }

  /** Takes records of an erased user or conversation again; false when it was not erased. */
  async liftErasure(options: ForgetOptions): Promise<boolean> {
    return liftErasure(options, this.#parts);
  }

  /**
   * Seals with the first key of MEMORY_ENCRYPTION_KEYS what is sealed with another one, everywhere, while everything runs;
   * with `sealPlain` also what is plain and must be encrypted, with `dryRun` it only counts. Runs while it is iterated over;
   * `left` of the last step says what is still sealed with which other key. Stopped at any point, a new run goes on.
   */
  rekey(options: RekeyOptions = {}): AsyncIterableIterator<RekeyProgress> {
    return rekey(options, this.#parts);
  }

  /**
   * Calls `handler` for every turn that is saved from now on, by whomever, when its worker has cached it: once each. The
   * function it gives ends that; so does `close`. An error of a handler is logged.
   */
  onTurnSaved(handler: EventHandler<'record.cached'>): () => void {
    return this.#parts.subscriptions.subscribe('record.cached', handler, ({ data }) => data.module === 'chat');
  }

  /** The same for every reflection, fine-tune output and knowledge that is pinned; in rare cases twice. */
  onReflection(handler: EventHandler<'record.pinned'>): () => void {
    return this.#parts.subscriptions.subscribe('record.pinned', handler);
  }

  /**
   * All that happens to records, after the `cursor` of an earlier event, from `0` on all that is kept, or else from now on,
   * until `signal` says stop; with `userId` what concerns that user's. Waits for a Redis that is away.
   */
  async followEvents(options: FollowOptions): Promise<{ cursor: string; events: AsyncGenerator<Followed> }> {
    const { events } = this.#parts;
    const cursor = options.cursor ?? (await inReadTime(events.now(), this.#parts));
    return { cursor, events: events.follow({ ...options, cursor }) };
  }

  /** Lets go of all connections; saves that have resolved are safe. */
  async close(): Promise<void> {
    this.#parts.subscriptions.close();
    await Promise.all([...this.#reflectors].map((stop) => stop()));
    await this.#parts.close();
  }
}
