/**
 * **workers/flush/**: the workers of the queues `flush` and `quarantine`. Pending records go to Supabase in batches, and a
 * record that Supabase refuses is set aside.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Failure } from '../../shared/long-term/errors.ts';
import type { FlushResult } from '../../shared/queues.ts';
import type { PendingEntry } from '../../shared/short-term/pending.ts';
import { compareEntries } from '../../shared/redis/stream-entries.ts';
import { commit, type PendingRecord } from '../steps/commit.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';

/**
 * Most bytes of JSON in one request. This keeps a batch of long texts within what proxies and PostgREST accept, and it bounds
 * the memory of the worker.
 */
const BATCH_BYTES = 4 * 1024 * 1024;
/** Batches under way at once: one is being written while the next one is read. */
const LANES = 2;
/** How often a lane looks whether another worker has finished what that worker took. */
const POLL_MS = 50;

export interface FlushOptions {
  batchSize: number;
  /** Names this worker in the consumer group. */
  consumer: string;
  onProgress?: (result: FlushResult) => Promise<void>;
  signal?: AbortSignal;
}

export type FlushOutcome = FlushResult & { failure: Failure | null };

/** One flush while it runs. All lanes count into the one outcome. */
interface Run {
  parts: WorkerParts;
  options: FlushOptions;
  outcome: FlushOutcome;
}

/**
 * Moves everything that is pending now to Supabase, in batches. It ends when every record of it is committed or quarantined,
 * also by another worker, or at the first failure that is not the fault of a row. After a failure the rest stays pending.
 */
export async function flush(parts: WorkerParts, options: FlushOptions): Promise<FlushOutcome> {
  const { flushDuration, flushRecords, flushFailures } = parts.metrics;
  const end = flushDuration.startTimer();
  let failureKind: string | undefined = 'error'; // stays when flushAll throws
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
  const totalPending = await parts.pending.length();
  const counts = { flushedCount: 0, failedCount: 0, batches: 0 };
  const outcome: FlushOutcome = { success: true, totalPending, ...counts, failure: null };
  for (const shard of parts.pending.shards) {
    const last = await parts.pending.last(shard);
    if (last === null || outcome.failure) continue;
    await flushShard(shard, last, { parts, options, outcome });
  }
  return { ...outcome, success: outcome.failure === null };
}

/**
 * Runs all lanes to their end. When one of them throws, the others stop after the batch they have in hand, and then the error
 * is thrown on.
 */
async function flushShard(shard: string, last: string, { parts, options, outcome }: Run): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(options.signal ? [options.signal] : [])]);
  const lanes = Array.from({ length: LANES }, async () => {
    try {
      await flushLane(shard, last, { parts, options: { ...options, signal }, outcome });
    } catch (error) {
      stop.abort();
      throw error;
    }
  });
  const failed = (await Promise.allSettled(lanes)).find(({ status }) => status === 'rejected');
  if (failed) throw (failed as PromiseRejectedResult).reason;
}

async function flushLane(shard: string, last: string, run: Run): Promise<void> {
  const { pending } = run.parts;
  const { batchSize, consumer } = run.options;
  while (!run.outcome.failure && !run.options.signal?.aborted) {
    const entries = await pending.take(shard, consumer, batchSize);
    const newest = entries.at(-1);
    if (!newest) {
      if ((await pending.inHand(shard, last)) === 0) return;
      await sleep(POLL_MS);
      continue;
    }
    await flushEntries(shard, entries, run);
    if (compareEntries(newest.entry, last) >= 0) return;
  }
}

async function flushEntries(shard: string, entries: PendingEntry[], { parts, options, outcome }: Run): Promise<void> {
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

/** Cuts a batch where its JSON would grow too large. A single record may be larger than the limit. */
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
 * An entry has no content when another worker finished its record after this worker took the entry. When the record is still
 * pending under this entry, somebody deleted the content by hand; then the record is lost, and that is logged as an error. In
 * both cases the entry is taken off the stream, because otherwise it would come back for ever.
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
