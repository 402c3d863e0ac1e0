/**
 * **workers/flush/**: the workers of the queues `flush` and `quarantine`: pending records go to Supabase in batches, and
 * what it refuses is set aside.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Failure } from '../../shared/long-term/errors.ts';
import type { PendingEntry } from '../../shared/short-term/pending.ts';
import type { FlushResult } from '../../shared/queues.ts';
import { commit, type PendingRecord } from '../steps/commit.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';

/** Most JSON in one request: keeps a batch of long texts within what proxies and PostgREST take, and memory bounded. */
const BATCH_BYTES = 4 * 1024 * 1024;
/** Batches under way at once: one is being written while the next is read. */
const LANES = 2;
/** How often to look whether another worker has finished what it took. */
const POLL_MS = 50;

export interface FlushOptions {
  batchSize: number;
  /** Names this worker in the consumer group. */
  consumer: string;
  onProgress?: (result: FlushResult) => Promise<void>;
  signal?: AbortSignal;
}

export type FlushOutcome = FlushResult & { failure: Failure | null };

/**
 * Moves everything that is pending now to Supabase, in batches. Ends when all of it is committed or quarantined, whoever
 * did it, or at the first failure that is not a row's fault; then what is left stays pending.
 */
export async function flush(parts: WorkerParts, options: FlushOptions): Promise<FlushOutcome> {
  const { flushDuration, flushRecords, flushFailures } = parts.metrics;
  const end = flushDuration.startTimer();
  let failureKind: string | undefined = 'error'; // until it has ended without being thrown out of
  try {
    const outcome = await flushAll(parts, options);
    failureKind = outcome.failure?.kind;
    flushRecords.observe(outcome.flushedCount);
    return outcome;
  } finally {
    if (failureKind !== undefined) flushFailures.inc({ kind: failureKind });
    end({ outcome: failureKind === undefined ? 'done' : 'failed' });
  }
}

async function flushAll(parts: WorkerParts, options: FlushOptions): Promise<FlushOutcome> {
  const outcome: FlushOutcome = {
    success: true,
    totalPending: await parts.pending.length(),
    flushedCount: 0,
    failedCount: 0,
    batches: 0,
    failure: null,
  };
  for (const shard of parts.pending.shards) {
    const last = await parts.pending.last(shard);
    if (last === null || outcome.failure) continue;
    await flushShard(shard, last, parts, options, outcome);
  }
  return { ...outcome, success: outcome.failure === null };
}

/** Runs the lanes to their end: where one fails, the others stop after what they have in hand, and then it is thrown. */
async function flushShard(
  shard: string,
  last: string,
  parts: WorkerParts,
  options: FlushOptions,
  outcome: FlushOutcome,
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(options.signal ? [options.signal] : [])]);
  const lanes = Array.from({ length: LANES }, async () => {
    try {
      await flushLane(shard, last, parts, { ...options, signal }, outcome);
    } catch (error) {
      stop.abort();
      throw error;
    }
  });
  const failed = (await Promise.allSettled(lanes)).find(({ status }) => status === 'rejected');
  if (failed) throw (failed as PromiseRejectedResult).reason;
}

async function flushLane(
  shard: string,
  last: string,
  parts: WorkerParts,
  options: FlushOptions,
  outcome: FlushOutcome,
): Promise<void> {
  const { pending } = parts;
  while (!outcome.failure && !options.signal?.aborted) {
    const entries = await pending.take(shard, options.consumer, options.batchSize);
    const newest = entries.at(-1);
    if (!newest) {
      if ((await pending.inHand(shard, last)) === 0) return;
      await sleep(POLL_MS);
      continue;
    }
    await flushEntries(shard, entries, parts, options, outcome);
    if (isAfter(newest.entry, last)) return;
  }
}

async function flushEntries(
  shard: string,
  entries: PendingEntry[],
  parts: WorkerParts,
  options: FlushOptions,
  outcome: FlushOutcome,
): Promise<void> {
  let unfinished = entries;
  try {
    for (const pack of packs(entries)) {
      if (outcome.failure || options.signal?.aborted) return;
      const { found, lost } = await load(pack, parts);
      const result = await commit(found, parts);
      outcome.flushedCount += result.committed;
      outcome.failedCount += result.refused + lost;
      outcome.batches += result.batches;
      outcome.failure ??= result.failure;
      const left = new Set(result.left.map(({ entry }) => entry));
      const done = new Set(pack.filter(({ entry }) => !left.has(entry)));
      unfinished = unfinished.filter((entry) => !done.has(entry));
      const { failure, ...progress } = outcome;
      await options.onProgress?.({ ...progress, success: failure === null });
    }
  } finally {
    await parts.pending.release(shard, options.consumer, unfinished);
  }
}

/** Cuts a batch where its JSON would grow too large; one record alone may be larger. */
function* packs(entries: readonly PendingEntry[]): Generator<PendingEntry[]> {
  let pack: PendingEntry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (pack.length > 0 && bytes + entry.bytes > BATCH_BYTES) {
      yield pack;
      pack = [];
      bytes = 0;
    }
    pack.push(entry);
    bytes += entry.bytes;
  }
  yield pack;
}

async function load(
  pack: readonly PendingEntry[],
  parts: WorkerParts,
): Promise<{ found: PendingRecord[]; lost: number }> {
  const conversations = Map.groupBy(pack, ({ contextId }) => contextId);
  const loaded = await Promise.all(
    [...conversations].map(async ([contextId, entries]) => {
      const ids = entries.map(({ id }) => id);
      const records = await parts.shortTerm.find(contextId, ids);
      return entries.map((entry, i) => ({ entry, record: records[i] ?? null }));
    }),
  );
  const found: PendingRecord[] = [];
  let lost = 0;
  for (const { entry, record } of loaded.flat()) {
    if (record) found.push({ ...entry, record });
    else if (await isLost(entry, parts)) lost += 1;
  }
  return { found, lost };
}

/**
 * An entry without content is one that another worker has finished since it was taken, and perhaps did not know. If its
 * record is still pending under it, somebody deleted the content by hand: that is said aloud. Either way the entry is
 * taken off the stream, where it would come back for ever.
 */
async function isLost({ id, contextId, entry }: PendingEntry, parts: WorkerParts): Promise<boolean> {
  const { pending, shortTerm, logger, metrics } = parts;
  const lost = (await pending.locate(id))?.entry === entry;
  if (lost) {
    metrics.recordsLost.inc();
    logger.error({ id, entry }, 'a pending record has no content in Redis any more: it is lost');
  }
  await shortTerm.dropEntry(contextId, id, entry);
  return lost;
}

/** Whether stream entry `a` is `b` or newer; entries read `<ms>-<n>`. */
function isAfter(a: string, b: string): boolean {
  const [aMs = 0, aSeq = 0] = a.split('-').map(Number);
  const [bMs = 0, bSeq = 0] = b.split('-').map(Number);
  return aMs > bMs || (aMs === bMs && aSeq >= bSeq);
}
