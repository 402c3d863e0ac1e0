import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../shared/errors.ts';
import { readMemory, usedPercent } from '../../shared/redis/memory.ts';
import { flush } from './flush.ts';
import { isScheduled, scheduleFlushes } from '../steps/flush-schedule.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';

/** Pause between two rounds of all duties. */
const EVERY_MS = 5_000;
/** Making room goes on until usage is this many percent of the limit below the point where saves stop, so that saves can go on for a while. */
const ROOM_PERCENT = 10;
/** Pause after making room was not enough: nothing more can be dropped until more is committed. */
const REST_MS = 60_000;
/** Finished jobs that are younger than this stay, because a caller may be waiting for their result. */
const WAITED_FOR_MS = 60_000;
/** Finished jobs to remove, and cached conversations to look at, between two looks at Redis's memory. */
const AT_ONCE = 1_000;

/**
 * What the flush worker does beside its jobs, so that no fault needs a person: it makes sure that flushes are scheduled, makes
 * room when Redis is nearly full, and removes dead consumers from the consumer group. None of this is started by a job,
 * because a full Redis takes no jobs.
 */
export function keepUp(consumer: string, stopping: AbortSignal, parts: WorkerParts): void {
  const duties = [
    () => keepSchedule(parts),
    seldomIfInVain(() => makeRoom(consumer, stopping, parts)),
    () => parts.pending.forgetConsumers(),
  ];
  const goOn = async () => {
    while (!stopping.aborted) {
      for (const duty of duties) {
        await duty().catch((error) => parts.logger.warn({ reason: messageOf(error) }, 'upkeep'));
      }
      await sleep(EVERY_MS, null, { signal: stopping }).catch(() => undefined); // ends early when the worker stops
    }
  };
  void goOn();
}

/** Wraps a duty that gives false when it was in vain: the duty then rests for a while. */
function seldomIfInVain(duty: () => Promise<boolean>): () => Promise<void> {
  let restsUntil = 0;
  return async () => {
    if (Date.now() < restsUntil) return;
    if (!(await duty())) restsUntil = Date.now() + REST_MS;
  };
}

/** BullMQ adds the next scheduled flush when one begins. If Redis refuses that one command, no flush would ever come again. */
async function keepSchedule(parts: WorkerParts): Promise<void> {
  if (await isScheduled(parts)) return;
  parts.logger.warn('no flush was scheduled any more; scheduled anew');
  await scheduleFlushes(parts);
}

/**
 * When more of Redis is used than saves may use, this commits what is pending and then drops what Supabase has as well, the
 * oldest first: finished jobs, then the caches of committed conversations, which the next reads take from Supabase. Gives
 * false when that was not enough.
 */
async function makeRoom(consumer: string, signal: AbortSignal, parts: WorkerParts): Promise<boolean> {
  const { config, logger, redis } = parts;
  const used = async () => usedPercent(await readMemory(redis));
  const before = await used();
  if (before <= config.redisMaxUsedPercent) return true;
  logger.warn({ usedPercent: before }, 'Redis is nearly full; making room');
  const enough = async () => signal.aborted || (await used()) <= config.redisMaxUsedPercent - ROOM_PERCENT;
  const { flushedCount, failure } = await flush(parts, { batchSize: config.flushBatchSize, consumer, signal });
  const dropped = await dropCopies(parts, enough);
  const after = await used();
  logger.warn({ usedPercent: after, flushedCount, dropped, failure }, 'made what room there was');
  return after <= config.redisMaxUsedPercent;
}

async function dropCopies(parts: WorkerParts, enough: () => Promise<boolean>): Promise<number> {
  let dropped = 0;
  for await (const count of copies(parts)) {
    dropped += count;
    if (await enough()) break;
  }
  return dropped;
}

/** Drops one portion in each step and yields how many jobs or conversations it dropped. */
async function* copies({ queue, shortTerm }: WorkerParts): AsyncGenerator<number> {
  for (const name of ['chat', 'reflection'] as const) {
    for (let removed = AT_ONCE; removed === AT_ONCE;) {
      removed = (await queue(name).clean(WAITED_FOR_MS, AT_ONCE, 'completed')).length;
      yield removed;
    }
  }
  yield* shortTerm.dropCommitted(AT_ONCE);
}
