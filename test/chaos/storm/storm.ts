/**
 * **test/chaos/storm/**: what breaks in a chaos run, when, and on which parts. What is saved and read meanwhile is in
 * `test/chaos/traffic/`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { FlushResult } from '../../../shared/queues.ts';
import type { WorkerKind } from '../../../workers/kinds.ts';
import { FAULTS, type FaultEntry, type FaultKind, type FaultSetting, type Part } from './faults.ts';
import type { PlannedFault } from './plan.ts';

const POLL_MS = 200;
/** How many finished flushes are looked at to find the first one that committed something. */
const FLUSHES = 200;

/**
 * A fault that is over, and the time from its end until the broken part was seen at work. The time is null when that was not
 * seen.
 */
export interface Survived {
  kind: FaultKind;
  recoveredMs: number | null;
}

/** Carries a plan out, and watches how the broken parts recover. */
export class Storm {
  readonly #setting: FaultSetting;
  readonly #note: (line: string) => void;
  readonly #parts = new Map<Part, Promise<void>>();
  readonly #recoveries: Promise<Survived>[] = [];
  readonly #watching = new AbortController();

  constructor(setting: FaultSetting, note: (line: string) => void) {
    this.#setting = setting;
    this.#note = note;
  }

  /** Resolves when every fault has come and is mended. A fault whose part is still being mended waits for that. */
  async carryOut(plan: readonly PlannedFault[], signal: AbortSignal): Promise<void> {
    const start = Date.now();
    for (const fault of plan) {
      await sleep(Math.max(0, start + fault.atMs - Date.now()), null, { signal });
      const { part } = FAULTS[fault.kind];
      const mended = (this.#parts.get(part) ?? Promise.resolve()).then(() => this.#rage(fault, signal));
      mended.catch(() => undefined); // thrown below, when all are awaited
      this.#parts.set(part, mended);
    }
    await Promise.all(this.#parts.values());
  }

  /** Returns the faults that were survived so far. It does not wait for recoveries that were not seen yet. */
  async survived(): Promise<Survived[]> {
    this.#watching.abort();
    return Promise.all(this.#recoveries);
  }

  async #rage({ kind, forMs }: PlannedFault, signal: AbortSignal): Promise<void> {
    const fault: FaultEntry = FAULTS[kind];
    this.#note(`${kind} begins`);
    const mend = await fault.start(this.#setting);
    // A blow at a worker has no duration; every other fault lasts.
    if (!kind.endsWith('-kill') || kind === 'redis-kill') await sleep(forMs, null, { signal }).catch(() => undefined);
    await mend();
    this.#note(`${kind} ends`);
    this.#recoveries.push(this.#watch(kind, fault.watches, Date.now()));
  }

  async #watch(kind: FaultKind, watches: readonly WorkerKind[], since: number): Promise<Survived> {
    const { redis } = this.#setting.stage;
    const { signal } = this.#watching;
    for (let last = false; ; last = signal.aborted) {
      const seen = await Promise.all(watches.map((watch) => firstDone(redis, watch, since)));
      const recovered = seen.filter((at) => at !== null);
      if (recovered.length === watches.length) {
        const recoveredMs = Math.max(...recovered) - since;
        this.#note(`${kind} recovered from after ${recoveredMs} ms`);
        return { kind, recoveredMs };
      }
      if (last) return { kind, recoveredMs: null };
      await sleep(POLL_MS, null, { signal }).catch(() => undefined);
    }
  }
}

/**
 * Returns the time at which the first job of a queue ended well after a moment, by the clock of its worker. A flush counts only
 * if it committed something.
 */
async function firstDone(redis: Redis, queue: WorkerKind, since: number): Promise<number | null> {
  try {
    const done = await redis.zrangebyscore(`bull:${queue}:completed`, since, '+inf', 'WITHSCORES', 'LIMIT', 0, FLUSHES);
    for (let i = 0; i < done.length; i += 2) {
      if (queue !== 'flush' || (await hasCommitted(redis, done[i] ?? ''))) return Number(done[i + 1]);
    }
    return null;
  } catch {
    return null; // Redis is away again, by the next fault
  }
}

async function hasCommitted(redis: Redis, flushId: string): Promise<boolean> {
  const result = await redis.hget(`bull:flush:${flushId}`, 'returnvalue');
  return result !== null && (JSON.parse(result) as FlushResult).flushedCount > 0;
}
