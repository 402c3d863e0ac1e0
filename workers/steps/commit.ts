/**
 * **workers/steps/**: the steps that several kinds of workers take, which are to remember, to commit and to ask for a flush,
 * and the parts they work with. What only one kind does belongs into the folder of that kind.
 */
import type { CommitResult, Memories } from '../../shared/long-term/memories.ts';
import type { Failure } from '../../shared/long-term/errors.ts';
import { type MemoryRecord, toRow } from '../../shared/records/records.ts';
import type { QuarantineJob } from '../../shared/records/jobs.ts';
import type { Committed } from '../../shared/short-term/short-term.ts';
import { addSpan, inTraceOf } from '../../shared/telemetry/tracing.ts';
import type { WorkerParts } from './worker-parts.ts';

/** A record with its entry in the pending stream. */
export interface PendingRecord {
  record: MemoryRecord;
  entry: string;
  /** The trace in which the record was saved, in the form of W3C Trace Context; undefined or empty when there is none. */
  traceparent?: string;
}

export interface CommitOutcome {
  committed: number;
  /** Records that Supabase refused for their content; they are in quarantine now. */
  refused: number;
  /** Requests that committed something. */
  batches: number;
  /** Why the rest could not be committed; null when there is no rest. */
  failure: Failure | null;
  /** The rest, which is still pending as before. */
  left: PendingRecord[];
}

type CommitParts = Pick<WorkerParts, 'shortTerm' | 'queue' | 'logger' | 'metrics'> & {
  longTerm: { memories: Pick<Memories, 'insert'> };
};

/**
 * Commits records to Supabase and only then marks them committed in Redis. A batch that Supabase refuses for its content is
 * halved until each row at fault stands alone, which takes at most 2·log2(n) more requests for each of them. An outage, a
 * refused key or a missing table is never the fault of a row; then the rest of the batch stays pending.
 */
export async function commit(batch: readonly PendingRecord[], parts: CommitParts): Promise<CommitOutcome> {
  if (batch.length === 0) return { committed: 0, refused: 0, batches: 0, failure: null, left: [] };
  const start = Date.now();
  const result = await insert(batch, parts);
  if (!result.failure) {
    await acknowledge(
      batch.map((pending) => ({ ...pending, inserted: result.inserted.has(pending.record.id) })),
      parts,
    );
    tellTraces(batch, start, 'committed');
    return { committed: batch.length, refused: 0, batches: 1, failure: null, left: [] };
  }
  if (result.failure.kind !== 'refused') {
    return { committed: 0, refused: 0, batches: 0, failure: result.failure, left: [...batch] };
  }
  const [only] = batch;
  if (batch.length === 1 && only) {
    const { failure } = result;
    await inTraceOf(only.traceparent, async () => quarantine(only, failure, parts));
    tellTraces([only], start, 'quarantined');
    return { committed: 0, refused: 1, batches: 0, failure: null, left: [] };
  }
  const middle = Math.ceil(batch.length / 2);
  const first = await commit(batch.slice(0, middle), parts);
  const rest = batch.slice(middle);
  if (first.failure) return { ...first, left: [...first.left, ...rest] };
  const second = await commit(rest, parts);
  return {
    ...second,
    committed: first.committed + second.committed,
    refused: first.refused + second.refused,
    batches: first.batches + second.batches,
  };
}

async function insert(batch: readonly PendingRecord[], { longTerm, metrics }: CommitParts): Promise<CommitResult> {
  const end = metrics.commitDuration.startTimer();
  const result = await longTerm.memories.insert(batch.map(({ record }) => record));
  end({ outcome: result.failure?.kind ?? 'committed' });
  if (!result.failure) {
    metrics.commitRecords.observe(batch.length);
    for (const { record } of batch) metrics.recordsCommitted.inc({ module: record.module });
  }
  return result;
}

async function acknowledge(committed: readonly Committed[], { shortTerm }: CommitParts): Promise<void> {
  const conversations = Map.groupBy(committed, ({ record }) => record.contextId);
  await Promise.all([...conversations].map(([contextId, records]) => shortTerm.acknowledge(contextId, records)));
}

/** A flush has a trace of its own, so what became of a record is added to the trace in which the record was saved. */
function tellTraces(batch: readonly PendingRecord[], start: number, outcome: 'committed' | 'quarantined'): void {
  for (const { record, traceparent } of batch) {
    const { id, module } = record;
    addSpan(traceparent, 'commit', start, {
      'mnemoq.record.id': id,
      'mnemoq.module': module,
      'mnemoq.outcome': outcome,
    });
  }
}

/**
 * The record goes into the quarantine queue before it leaves the pending stream. After a crash in between, the first step is
 * repeated with the same job id and changes nothing.
 */
async function quarantine({ record, entry }: PendingRecord, failure: Failure, parts: CommitParts): Promise<void> {
  const { code, message } = failure;
  const data: QuarantineJob = { row: toRow(record), error: { code, message } };
  const queue = parts.queue('quarantine');
  const earlier = await queue.getJob(record.id);
  // A finished job stays for a day. When the record was mended and committed within that time and is now saved once more as
  // it was, the finished job would keep this one from being added.
  if (await earlier?.isCompleted()) await earlier?.remove();
  await queue.add('quarantine', data, { jobId: record.id });
  await parts.shortTerm.setAside(record, entry, code);
  parts.metrics.recordsQuarantined.inc();
  parts.logger.error({ id: record.id, code }, 'Supabase refused a record for its content; it is in quarantine');
}
