import { Counter, Histogram, Registry } from 'prom-client';
import { isError, MnemoqError } from '../errors.ts';
import { QUEUES } from '../queues.ts';

/** In seconds, from a short Redis command to a job that waits for IPFS. */
const DURATIONS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** In seconds. A flush may move the records of a whole night. */
const FLUSH_DURATIONS = [0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900];
/** The rows in one request, which are 1000 at most. */
const BATCHES = [1, 10, 50, 100, 250, 500, 1_000];
const FLUSHES = [0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/**
 * The labels of a metric, with the values that are known before they occur. The series of these values begin at 0, so that a
 * rate sees the first increase.
 */
type Labels = Record<string, readonly string[]>;

const BY_MODULE = { module: ['chat', 'reflection', 'finetune', 'knowledge'] };

/**
 * What one process has done, for Prometheus. Every process has metrics of its own, and in tests every worker and every
 * MemoryCore, so that nothing is counted for somebody else. The values of labels come from small sets, and never from the ids
 * of records, users or conversations.
 *
 * A new metric is one more field here and a line in docs/metrics.md, which a test holds against the registry.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #collectors: (() => Promise<void>)[] = [];

  readonly savesAccepted = this.#counter('mnemoq_saves_accepted_total', 'Records that Redis took into a queue', {
    module: BY_MODULE.module,
  });
  readonly savesRefused = this.#counter('mnemoq_saves_refused_total', 'Saves that were refused, by error code', {
    code: ['invalid_input', 'redis_full', 'redis_unavailable'],
  });
  readonly cacheReads = this.#counter(
    'mnemoq_cache_reads_total',
    'Reads of conversations: answered by Redis alone (hit), or together with Supabase (miss)',
    { outcome: ['hit', 'miss'] },
  );
  readonly cacheRefills = this.#counter(
    'mnemoq_cache_refills_total',
    'Refills of a conversation from Supabase: filled, superseded by a commit that came between, failed as Redis took no write',
    { outcome: ['filled', 'superseded', 'failed'] },
  );
  readonly jobDuration = this.#histogram(
    'mnemoq_job_duration_seconds',
    'Jobs, from when one was begun to when it was done, had failed for good or was put off',
    DURATIONS,
    { queue: QUEUES, outcome: ['done', 'failed', 'put_off'] },
  );
  readonly recordsCached = this.#counter(
    'mnemoq_records_cached_total',
    'Records tokenized and put into Redis; a repeated delivery is not counted again',
    BY_MODULE,
  );
  readonly tokens = this.#counter('mnemoq_tokens_total', 'Tokens of these records', BY_MODULE);
  readonly flushDuration = this.#histogram('mnemoq_flush_duration_seconds', 'Flushes', FLUSH_DURATIONS, {
    outcome: ['done', 'failed'],
  });
  readonly flushRecords = this.#histogram('mnemoq_flush_records', 'Records that one flush committed', FLUSHES);
  readonly flushFailures = this.#counter(
    'mnemoq_flush_failures_total',
    'Flushes that stopped early: at an outage, auth or schema failure of Supabase, or at any other error',
    { kind: ['outage', 'auth', 'schema', 'error'] },
  );
  readonly commitDuration = this.#histogram(
    'mnemoq_commit_duration_seconds',
    'Requests that write records to Supabase, by what it answered',
    DURATIONS,
    { outcome: ['committed', 'refused', 'outage', 'auth', 'schema'] },
  );
  readonly commitRecords = this.#histogram(
    'mnemoq_commit_records',
    'Records in one request that committed them',
    BATCHES,
  );
  readonly recordsCommitted = this.#counter(
    'mnemoq_records_committed_total',
    'Records committed to Supabase, by a flush or at once',
    BY_MODULE,
  );
  readonly recordsQuarantined = this.#counter(
    'mnemoq_records_quarantined_total',
    'Records put into quarantine, because Supabase refused their content',
  );
  readonly recordsLost = this.#counter(
    'mnemoq_records_lost_total',
    'Pending records whose content somebody deleted from Redis by hand',
  );
  readonly pinDuration = this.#histogram(
    'mnemoq_pin_duration_seconds',
    'Pins of reflections on IPFS, by how they ended',
    DURATIONS,
    { outcome: ['pinned', 'ipfs_unavailable', 'cid_mismatch', 'error'] },
  );
  readonly httpDuration = this.#histogram(
    'mnemoq_http_request_duration_seconds',
    'HTTP requests, by the pattern of their route; none is where no route matches',
    DURATIONS,
    { method: [], route: [], status: [] },
  );

  /** Adds what must be measured at each scrape. The collector may not throw. */
  beforeScrape(collector: () => Promise<void>): void {
    this.#collectors.push(collector);
  }

  /** All metrics, in the text format of Prometheus. */
  async scrape(): Promise<string> {
    await Promise.all(this.#collectors.map((collect) => collect()));
    return this.registry.metrics();
  }

  /** Counts a save that is refused, and throws the refusal on. */
  async countRefusal<T>(save: () => T | Promise<T>): Promise<T> {
    try {
      return await save();
    } catch (error) {
      if (error instanceof MnemoqError) this.savesRefused.inc({ code: error.code });
      throw error;
    }
  }

  /** Times a pin and tells how it ended. */
  async timePin(pin: () => Promise<void>): Promise<void> {
    const end = this.pinDuration.startTimer();
    try {
      await pin();
      end({ outcome: 'pinned' });
    } catch (error) {
      const code = (['ipfs_unavailable', 'cid_mismatch'] as const).find((each) => isError(error, each));
      end({ outcome: code ?? 'error' });
      throw error;
    }
  }

  #counter<L extends Labels>(name: string, help: string, labels = {} as L): Counter<keyof L & string> {
    const labelNames = Object.keys(labels);
    const counter = new Counter({ name, help, labelNames, registers: [this.registry] });
    for (const values of combinations(labels)) counter.inc(values, 0);
    return counter;
  }

  #histogram<L extends Labels>(
    name: string,
    help: string,
    buckets: number[],
    labels = {} as L,
  ): Histogram<keyof L & string> {
    const labelNames = Object.keys(labels);
    const histogram = new Histogram({ name, help, labelNames, buckets, registers: [this.registry] });
    for (const values of combinations(labels)) histogram.zero(values);
    return histogram;
  }
}

/** Every set of labels that the known values make; none where a label has no known values. */
function combinations(labels: Labels): Record<string, string>[] {
  return Object.entries(labels).reduce<Record<string, string>[]>(
    (sets, [label, values]) => sets.flatMap((set) => values.map((value) => ({ ...set, [label]: value }))),
    [{}],
  );
}
