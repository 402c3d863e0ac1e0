import { setTimeout as sleep } from 'node:timers/promises';
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
import { readRedisLoad, type RedisLoad, usecBetween, usedMemory } from '../redis-load.ts';
import { type ResultTable, times } from '../report.ts';
import type { Place, Stage } from '../stage.ts';
import { latencies, median, rounded, timed } from '../statistics.ts';

/** The time between two looks at a flush. */
const POLL_MS = 50;
/** The number of parts in which a flush is measured. The first two tenths and the last two are compared. */
const PORTIONS = 20;
/** The number of records that are remembered and flushed before anything is measured, so that neither side is cold. */
const WARM_UP = 5_000;
const SAMPLES = 200;
const LIMIT = 20;
const MIB = 1024 ** 2;

/** A backlog with which Redis is filled and which is then flushed. */
interface Backlog {
  records: number;
  conversations: number;
}

interface Portion {
  /** The number of records that were still pending when the part began. */
  pending: number;
  usecPerRecord: number;
  /** The time of the thread of Redis, and its most expensive commands. */
  redisUsecPerRecord: number;
  commands: Record<string, number>;
  workerCpuUsecPerRecord: number | null;
  workerRssMiB: number | null;
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

/** Watches a flush until its end, one part after the other. */
async function watch(pid: number, pending: Pending, redis: Redis): Promise<Portion[]> {
  const total = await pending.length();
  const bar = progressBar(`flushing ${total}`, total);
  const portions: Portion[] = [];
  let before = await look(pid, total, redis);
  while (before.left > 0) {
    await sleep(POLL_MS);
    const left = await pending.length();
    if (left > 0 && before.left - left < total / PORTIONS) continue;
    const now = await look(pid, left, redis);
    portions.push(between(before, now));
    before = now;
    bar.update(total - left);
  }
  bar.stop();
  return portions;
}

async function emptied(pending: Pending): Promise<void> {
  while ((await pending.length()) > 0) await sleep(POLL_MS);
}

interface Look {
  at: number;
  left: number;
  redis: RedisLoad;
  worker: ReturnType<typeof readProcessLoad>;
}

async function look(pid: number, left: number, redis: Redis): Promise<Look> {
  return { at: performance.now(), left, redis: await readRedisLoad(redis), worker: readProcessLoad(pid) };
}

function between(before: Look, now: Look): Portion {
  const count = before.left - now.left;
  const usecs = usecBetween(before.redis, now.redis);
  // Redis counts commands within scripts once more on their own, so only the commands that clients send are added up.
  const outer = usecs.filter(([name]) => /^(eval|xautoclaim|xreadgroup|xclaim|hmget|xpending)/.test(name));
  return {
    pending: before.left,
    usecPerRecord: rounded((1000 * (now.at - before.at)) / count),
    redisUsecPerRecord: rounded(outer.reduce((sum, [, usec]) => sum + usec, 0) / count),
    commands: Object.fromEntries(usecs.slice(0, 8).map(([name, usec]) => [name, rounded(usec / count)])),
    workerCpuUsecPerRecord:
      now.worker && before.worker && rounded((1000 * (now.worker.cpuMs - before.worker.cpuMs)) / count),
    workerRssMiB: now.worker && rounded(now.worker.rssBytes / MIB),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Divides the last tenth of the values by the first tenth. */
function lastToFirst(values: readonly number[]): number {
  const tenth = Math.max(1, Math.round(values.length / 10));
  return rounded(mean(values.slice(-tenth)) / mean(values.slice(0, tenth)));
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
