import type { Redis } from 'ioredis';
import { progressBar } from '../../cli/terminal/output.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { Pending } from '../../shared/short-term/pending.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { ShortTerm } from '../../shared/short-term/short-term.ts';
import { kill, startWorkerProcess } from '../../test/support/clients/worker-process.ts';
import { generateRecords, rememberAll } from './pending-record.ts';
import { readProcessLoad } from '../process-load.ts';
import { usedMemory } from '../redis-load.ts';
import { type ResultTable, times } from '../report.ts';
import type { Place, Stage } from '../stage.ts';
import { latencies, median, rounded, timed } from '../statistics.ts';
import { MIB, type Portion, watch, emptied, mean, lastToFirst } from './pending-portions.ts';

/** The number of records that are remembered and flushed before anything is measured, so that neither side is cold. */
const WARM_UP = 5_000;
const SAMPLES = 200;
const LIMIT = 20;

/** A backlog with which Redis is filled and which is then flushed. */
interface Backlog {
  records: number;
  conversations: number;
}

interface BacklogResult extends Backlog {
  remember: {
    /** The rates of one tenth after the other, with many steps at once. */
    usecPerRecord: number[];
    /** The last tenth divided by the first one. */
    ratio: number;
    redisBytesPerRecord: number;
  };
  /** The medians in ms of one call after the other, while the whole backlog is pending. */
  withBacklog: { rememberMs: number; recentMs: number; pageMs: number };
  flush: {
    usecPerRecord: number;
    /** The last tenth divided by the first one. */ ratio: number;
    redisRatio: number;
    portions: Portion[];
  };
  worker: { idleMiB: number; peakMiB: number } | null;
}

export interface PendingResult {
  supabase: Place['name'];
  backlogs: BacklogResult[];
}

/**
 * Measures what a record of a backlog costs while the backlog is flushed. Does the last tenth of a million records take as long as
 * the first one? Does the flush worker need more memory for a million than for a tenth of it? It is measured once with many
 * conversations of a hundred turns, and once with the whole backlog in one conversation, as a long outage of Supabase makes it.
 */
export async function measurePending(stage: Stage, pending: number, turns: number): Promise<PendingResult> {
  const place = stage.places.at(-1) as Place; // this is PostgREST where it is installed
  const backlogs: BacklogResult[] = [];
  for (const [records, conversations] of [
    [Math.ceil(pending / 10), Math.ceil(pending / 1_000)],
    [turns, 1],
    [pending, Math.ceil(pending / 100)],
  ] as const) {
    backlogs.push(await measureBacklog({ records, conversations }, place, stage));
    await stage.release();
  }
  return { supabase: place.name, backlogs };
}

async function measureBacklog(backlog: Backlog, place: Place, stage: Stage): Promise<BacklogResult> {
  const environment = stage.newEnvironment(place);
  const redis = stage.redis(environment);
  const pending = new Pending(redis, new Keys(false));
  const shortTerm = new ShortTerm(redis, new Keys(false), { limit: 100, ttlSeconds: 172_800 });
  const flushes = stage.queue('flush', environment);
  const worker = await startWorkerProcess('flush', environment);
  stage.onRelease(() => kill(worker));
  stage.onRelease(() => redis.flushdb());
  const pid = worker.pid ?? 0;
  const idle = readProcessLoad(pid);

  const contextIds = Array.from({ length: backlog.conversations }, (_, i) => `bench-${backlog.records}-pending-${i}`);
  const records = generateRecords(environment, contextIds);
  await rememberAll(shortTerm, records, WARM_UP);
  await flushes.add('flush', { reason: 'warm-up' });
  await emptied(pending);
  const remember = await fill(backlog, shortTerm, records, redis);
  const withBacklog = await measureCalls(stage.memory(environment), shortTerm, records, contextIds[0] as string);
  await flushes.add('flush', { reason: 'bench' });
  const portions = await watch(pid, pending, redis);
  const peak = readProcessLoad(pid);
  return {
    ...backlog,
    remember,
    withBacklog,
    flush: {
      usecPerRecord: rounded(mean(portions.map(({ usecPerRecord }) => usecPerRecord))),
      ratio: lastToFirst(portions.map(({ usecPerRecord }) => usecPerRecord)),
      redisRatio: lastToFirst(portions.map(({ redisUsecPerRecord }) => redisUsecPerRecord)),
      portions,
    },
    worker: idle && peak && { idleMiB: rounded(idle.rssBytes / MIB), peakMiB: rounded(peak.peakBytes / MIB) },
  };
}

/** Fills Redis, one tenth after the other. */
async function fill(
  { records: count }: Backlog,
  shortTerm: ShortTerm,
  records: Generator<MemoryRecord, never>,
  redis: Redis,
): Promise<BacklogResult['remember']> {
  const bar = progressBar(`remembering ${count}`, count);
  const before = await usedMemory(redis);
  const tenth = Math.ceil(count / 10);
  const usecPerRecord: number[] = [];
  for (let done = 0; done < count; done += tenth) {
    const portion = Math.min(tenth, count - done);
    const tookMs = await timed(() => rememberAll(shortTerm, records, portion));
    usecPerRecord.push(rounded((1000 * tookMs) / portion));
    bar.update(done + portion);
  }
  bar.stop();
  const redisBytesPerRecord = rounded(((await usedMemory(redis)) - before) / count);
  return { usecPerRecord, ratio: lastToFirst(usecPerRecord), redisBytesPerRecord };
}

async function measureCalls(
  memory: MemoryCore,
  shortTerm: ShortTerm,
  records: Generator<MemoryRecord, never>,
  contextId: string,
): Promise<BacklogResult['withBacklog']> {
  const p50 = async (call: () => Promise<unknown>) => {
    await latencies(20, 1, call);
    return rounded(median(await latencies(SAMPLES, 1, call)));
  };
  return {
    rememberMs: await p50(() => shortTerm.remember({ ...records.next().value, contextId })),
    recentMs: await p50(() => memory.loadRecentContext(contextId, { limit: LIMIT })),
    pageMs: await p50(() => memory.getMemoryContext(contextId, { limit: LIMIT })),
  };
}

/** Writes the result for people. */
export function pendingTable({ supabase, backlogs }: PendingResult): ResultTable {
  return {
    title: 'A backlog, flushed',
    head: [
      'last tenth : first',
      'in Redis alone',
      'pending',
      'conversations',
      'flush, µs a record',
      'worker idle / peak MiB',
      'Redis, bytes a record',
      'remember, last : first',
      `remember / newest ${LIMIT} / page of ${LIMIT}, ms`,
    ],
    rows: backlogs.map(({ records, conversations, remember, withBacklog, flush, worker }) => [
      times(flush.ratio),
      times(flush.redisRatio),
      records,
      conversations,
      flush.usecPerRecord,
      worker && `${worker.idleMiB} / ${worker.peakMiB}`,
      remember.redisBytesPerRecord,
      times(remember.ratio),
      Object.values(withBacklog).join(' / '),
    ]),
    note: `One flush worker process on ${supabase}, one flush each. The calls are medians of ${SAMPLES}, one at a time, with all of it pending.`,
  };
}
