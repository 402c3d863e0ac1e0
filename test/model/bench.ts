import { type Job, UnrecoverableError, Worker } from 'bullmq';
import { ContextReader } from '../../shared/tiers/context-reader.ts';
import { loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { Ipfs } from '../../shared/pinning/ipfs.ts';
import { createLogger } from '../../shared/telemetry/log.ts';
import type { Memories } from '../../shared/long-term/memories.ts';
import { PENDING_GROUP, type PendingEntry } from '../../shared/short-term/pending.ts';
import type { QueueName } from '../../shared/queues.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import { processChat } from '../../workers/saving/chat.ts';
import { commit, type CommitOutcome } from '../../workers/steps/commit.ts';
import { flush, type FlushOutcome } from '../../workers/flush/flush.ts';
import { connectWorker, type WorkerParts } from '../../workers/steps/worker-parts.ts';
import { processQuarantined } from '../../workers/flush/quarantine.ts';
import { processReflection } from '../../workers/saving/reflection.ts';
import type { ProxiedRequest } from '../support/faults/fault-proxy.ts';
import type { SupabaseService } from '../support/services/supabase-service.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import type { Seen } from './model.ts';

/**
 * These are the same in every run, so that the ids that are derived from them, and the order of equal times, are the same in a
 * replay.
 */
export const CONTEXTS = ['model a', 'model b'] as const;
/** This is small, so that trimming, floors and refills are at work after a few records. */
export const SHORT_TERM_LIMIT = 3;
/**
 * This is far longer than a flush of a few records takes. A flush that is not through by then waits for something that never
 * comes.
 */
const FLUSH_DEADLINE_MS = 15_000;
/** No worker that is alive is silent for this long. */
const SILENT_MS = 3_600_000;
const STREAM = 'memory:pending';
/** The name under which jobs in hand are locked. */
const TOKEN = 'model';

/** A flush worker that has taken a batch and stands still, before or after Supabase has the batch. */
interface HeldBatch {
  consumer: string;
  goOn: () => void;
  outcome: Promise<CommitOutcome>;
}

interface HeldRefill {
  contextId: string;
  token: string;
  newest: MemoryRecord[] | null;
}

/** The real parts, driven one step at a time. Only the model decides what runs next. */
export class Bench {
  readonly stack: Stack;
  readonly parts: WorkerParts;
  readonly #workers = new Map<QueueName, Worker>();
  #held: HeldBatch | null = null;
  #refills = new Map<string, HeldRefill>();
  #serial = 0;

  constructor(stack: Stack) {
    this.stack = stack;
    const config = loadConfig(stack.environment, STORE_SETTINGS);
    this.parts = connectWorker(config, createLogger('silent', 'model'));
  }

  static async start(supabase: SupabaseService['name']): Promise<Bench> {
    return new Bench(
      await startStack({
        supabase,
        environment: {
          MEMORY_SHORT_TERM_LIMIT: String(SHORT_TERM_LIMIT),
          // This is short enough to wait for in a run, and long enough that a busy machine is not mistaken for a Supabase that
          // hangs.
          MEMORY_SUPABASE_TIMEOUT_MS: '2000',
        },
      }),
    );
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.close()));
    await this.parts.close();
    await this.stack.stop();
  }

  /** Empties Redis and removes the rows of earlier runs. */
  async reset(): Promise<this> {
    this.healSupabase();
    this.#held = null;
    this.#refills.clear();
    await this.stack.client.flushdb();
    for (const table of ['memories', 'memory_reflections']) {
      const { error } = await this.stack.supabase.from(table).delete().in('context_id', CONTEXTS);
      if (error) throw new Error(`could not clear ${table}: ${error.message}`);
    }
    await this.parts.pending.prepare();
    return this;
  }

  failSupabase(faults: Partial<Pick<Stack['proxy'], 'fault' | 'beforeAnswer'>>): void {
    Object.assign(this.stack.proxy, faults);
  }

  healSupabase(): void {
    this.failSupabase({ fault: () => null, beforeAnswer: () => null });
  }

  /** Returns the ids that are pending and the ids that have a row. */
  async look(): Promise<Seen> {
    const [pending, rows] = await Promise.all([this.pending(), this.rows()]);
    return { pending: new Set(pending), rows: new Set(rows.map(({ id }) => id)) };
  }

  /** Reads the pending stream without Mnemoq; only the name of the key is Mnemoq's. */
  async pending(): Promise<string[]> {
    const entries = await this.stack.client.xrange(STREAM, '-', '+');
    return entries.map(([, fields]) => fields[fields.indexOf('id') + 1] ?? '');
  }

  async rows(): Promise<{ id: string; context_id: string; created_at: string; tokens: never }[]> {
    const { data, error } = await this.stack.supabase.from('memories').select('*').in('context_id', CONTEXTS);
    if (error) throw new Error(`could not look into Supabase: ${error.message}`);
    return data;
  }

  /**
   * Takes the next job, gives it to the function of its worker, and ends it as `startQueueWorker` does. Returns null when there
   * is no job.
   */
  async step(name: QueueName, process: (job: Job) => Promise<unknown>): Promise<Job | null> {
    const job = await this.nextJob(name);
    if (!job) return null;
    try {
      await job.moveToCompleted(await process(job), TOKEN, false);
    } catch (error) {
      if (!(error instanceof UnrecoverableError)) throw error;
      await job.moveToFailed(error, TOKEN, false);
    }
    return job;
  }

  async nextJob(name: QueueName): Promise<Job | null> {
    return (await this.#worker(name).getNextJob(TOKEN, { block: false })) ?? null;
  }

  /** Puts a job back, as BullMQ does when its worker has died and its lock has run out. */
  async crash(job: Job): Promise<void> {
    await job.moveToWait(TOKEN);
  }

  async chat(job: Job): Promise<Awaited<ReturnType<typeof processChat>>> {
    return processChat(job.data, this.parts);
  }

  async reflection(job: Job): Promise<unknown> {
    const { encryptionKeys, signingKey, ipfsApiUrl, ipfsTimeoutMs } = this.parts.config;
    const { keyring } = this.parts;
    if (!encryptionKeys || !signingKey || !ipfsApiUrl || !keyring) throw new Error('the stack has no keys or no IPFS');
    const signer = new Signer(signingKey);
    return processReflection(job.data, job, {
      ...this.parts,
      keyring,
      signer,
      ipfs: new Ipfs(ipfsApiUrl, ipfsTimeoutMs),
    });
  }

  async quarantine(): Promise<Job | null> {
    return this.step('quarantine', (job) => processQuarantined(job.data, job.attemptsStarted, this.parts));
  }

  /** Runs a flush, which must end by itself. With `stopAfter` it is stopped after so many batches, as a shutdown does it. */
  async flush(batchSize: number, stopAfter?: number): Promise<FlushOutcome> {
    if (this.#held) await this.silence(this.#held.consumer);
    const stopping = new AbortController();
    const deadline = AbortSignal.timeout(FLUSH_DEADLINE_MS);
    let batches = 0;
    const outcome = await flush(this.parts, {
      batchSize,
      consumer: `flush-${++this.#serial}`,
      signal: AbortSignal.any([stopping.signal, deadline]),
      onProgress: async () => {
        if (++batches === stopAfter) stopping.abort();
      },
    });
    if (deadline.aborted) throw new Error('a flush waits for entries that nobody has in hand');
    while (await this.quarantine());
    return outcome;
  }

  /** Lets a flush worker take a batch and stand still before or after Supabase has the batch. Returns the ids that it took. */
  async hold(count: number, at: 'before' | 'after'): Promise<string[]> {
    const consumer = `held-${++this.#serial}`;
    const entries = await this.parts.pending.take('', consumer, count);
    if (entries.length === 0) return [];
    const batch = await Promise.all(entries.map((entry) => this.#load(entry)));
    const { promise: wait, resolve: goOn } = Promise.withResolvers<void>();
    const { promise: standing, resolve: stands } = Promise.withResolvers<void>();
    const { longTerm } = this.parts;
    const stand = async () => {
      stands();
      await wait;
    };
    const gated = {
      insert: async (records: readonly MemoryRecord[]) => {
        if (at === 'before') await stand();
        const result = await longTerm.memories.insert(records);
        if (at === 'after') await stand();
        return result;
      },
    };
    const outcome = commit(batch, { ...this.parts, longTerm: { memories: gated } });
    this.#held = { consumer, goOn, outcome };
    await Promise.race([standing, outcome]);
    return entries.map(({ id }) => id);
  }

  /** Lets the worker that stood still go on, however late that is. */
  async resume(): Promise<CommitOutcome> {
    if (!this.#held) throw new Error('no worker stands still');
    const { goOn, outcome } = this.#held;
    this.#held = null;
    goOn();
    const ended = await outcome;
    while (await this.quarantine());
    return ended;
  }

  /** Makes the worker that stood still one that never comes back and was not heard of for long. */
  async bury(): Promise<void> {
    if (!this.#held) throw new Error('no worker stands still');
    await this.silence(this.#held.consumer);
    this.#held = null;
  }

  /** Makes it look as if `consumer` had been silent for an hour, so that its entries may be taken over. */
  async silence(consumer: string): Promise<void> {
    const held = await this.stack.client.xpending(STREAM, PENDING_GROUP, '-', '+', 1000, consumer);
    const ids = (held as [string][]).map(([entry]) => entry);
    if (ids.length === 0) return;
    await this.stack.client.call('XCLAIM', STREAM, PENDING_GROUP, consumer, 0, ...ids, 'IDLE', SILENT_MS, 'JUSTID');
  }

  /** Returns the entries that no working consumer has in hand and that the next flush may not take yet. */
  async stranded(): Promise<string[]> {
    const held = (await this.stack.client.xpending(STREAM, PENDING_GROUP, '-', '+', 1000)) as [
      string,
      string,
      number,
    ][];
    return held
      .filter(([, consumer, idle]) => consumer !== this.#held?.consumer && idle < 60_000)
      .map(([entry, consumer]) => `${entry} by ${consumer}`);
  }

  async beginRefill(contextId: string, readNow: boolean): Promise<boolean> {
    const token = `refill-${++this.#serial}`;
    if (!(await this.parts.shortTerm.beginRefill(contextId, token))) return false;
    const newest = readNow ? await this.parts.longTerm.memories.recent(contextId, SHORT_TERM_LIMIT) : null;
    this.#refills.set(contextId, { contextId, token, newest });
    return true;
  }

  async endRefill(contextId: string): Promise<void> {
    const refill = this.#refills.get(contextId);
    if (!refill) throw new Error('nobody refills this conversation');
    this.#refills.delete(contextId);
    const newest = refill.newest ?? (await this.parts.longTerm.memories.recent(contextId, SHORT_TERM_LIMIT));
    await this.parts.shortTerm.refill(contextId, refill.token, newest);
  }

  /** Makes a reader with an interlude between its reads of Redis and of Supabase, or after its read of Supabase. */
  interruptedReader(at: 'before' | 'after', interlude: () => Promise<void>): ContextReader {
    const { shortTerm } = this.parts;
    const { memories } = this.parts.longTerm;
    let due = true;
    const interrupt = async (now: 'before' | 'after') => {
      if (!due || now !== at) return;
      due = false;
      await interlude();
    };
    const around = async <T>(read: () => Promise<T>): Promise<T> => {
      await interrupt('before');
      const records = await read();
      await interrupt('after');
      return records;
    };
    const interrupted = {
      recent: (...asked: Parameters<Memories['recent']>) => around(() => memories.recent(...asked)),
      after: (...asked: Parameters<Memories['after']>) => around(() => memories.after(...asked)),
    };
    return new ContextReader(shortTerm, interrupted);
  }

  /**
   * Returns the time to live of the two keys of a conversation, in ms: -1 for a key that never expires, -2 for one that is not
   * there.
   */
  async timeToLive(contextId: string): Promise<number[]> {
    const { keys } = this.parts;
    return Promise.all([keys.conversation(contextId), keys.order(contextId)].map((key) => this.stack.client.pttl(key)));
  }

  /** Does what two days do: every key that has a time to live is gone, and no other. */
  async expire(contextId: string): Promise<void> {
    const { keys } = this.parts;
    for (const key of [keys.conversation(contextId), keys.order(contextId)]) {
      if ((await this.stack.client.pttl(key)) >= 0) await this.stack.client.del(key);
    }
  }

  /** Turns a cached record into one that PostgreSQL refuses. No worker writes such a record. */
  async spoil(contextId: string, id: string): Promise<void> {
    const key = this.parts.keys.conversation(contextId);
    const cached = JSON.parse((await this.stack.client.hget(key, id)) ?? '');
    await this.stack.client.hset(key, id, JSON.stringify({ ...cached, textCache: 'a\0b' }));
  }

  async #load({ contextId, id, entry }: PendingEntry): Promise<{ record: MemoryRecord; entry: string }> {
    const [record] = await this.parts.shortTerm.find(contextId, [id]);
    if (!record) throw new Error(`${id} is pending and its content is gone`);
    return { record, entry };
  }

  /** Makes a worker that takes jobs only when it is told to. */
  #worker(name: QueueName): Worker {
    const known = this.#workers.get(name);
    if (known) return known;
    const worker = new Worker(name, null as never, { connection: this.parts.redis, autorun: false });
    this.#workers.set(name, worker);
    return worker;
  }
}

/** Tells an insert of records from a read. */
export function isInsert({ method, url }: ProxiedRequest): boolean {
  return method === 'POST' && url.startsWith('/rest/v1/memories');
}
