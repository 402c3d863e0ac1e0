/**
 * A program that saves its part of the script, as a service would: several lanes, a pause and the same idempotency key
 * after an error. Told by its parent what to save, it tells it of every acknowledgement, and ends with it.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryCore, type Receipt } from '../../../producers/index.ts';
import { isError, MnemoqError, messageOf } from '../../../shared/errors.ts';
import { type Line, Script, type ScriptSize } from './script.ts';

/** What a producer is told first. */
export interface Assignment {
  size: ScriptSize;
  /** Every `of`-th line from `part` on is its own. */
  part: number;
  of: number;
  /** When the script began, and how long it takes, in ms. */
  startedAt: number;
  lastsMs: number;
  /** Lines that one before it, which is gone, has saved. */
  saved: readonly number[];
}

/** What it tells. */
export type Report =
  | { type: 'acknowledged'; number: number; finished: boolean }
  /** A save that nothing entitled the memory to refuse. */
  | { type: 'refused'; number: number; reason: string }
  /** A save that failed as one may during a fault. */
  | { type: 'failed'; code: string }
  | { type: 'done' };

const LANES = 12;
const PAUSE_MS = 200;
const WAIT_MS = 4_000;
/** A lane that finds this many lines overdue saves as many at once. */
const BULK = 20;
/** Errors that tell of a part that is away, and after which the same save is repeated. */
const TRANSIENT = ['redis_unavailable', 'redis_full', 'timeout'] as const;

const told = once(process, 'message');
process.once('disconnect', () => process.exit(1));
const [{ size, part, of, startedAt, lastsMs, saved }] = (await told) as [Assignment];
const script = new Script(size);
const memory = new MemoryCore(process.env);
const known = new Set(saved);
let next = part;

await Promise.all(Array.from({ length: LANES }, lane));
await memory.close();
tell({ type: 'done' });
process.disconnect();

async function lane(): Promise<void> {
  for (;;) {
    const lines = takeLines();
    const [first] = lines;
    if (!first) return;
    await sleep(Math.max(0, dueAt(first) - Date.now()));
    await (lines.length === 1 ? saveOne(first) : saveMany(lines));
  }
}

/** The next line, or a bulk of plain turns when that many are overdue. */
function takeLines(): Line[] {
  const lines: Line[] = [];
  while (next < script.length && lines.length < BULK) {
    const line = script.line(next);
    if (known.has(next)) {
      next += of;
      continue;
    }
    const fits = isPlain(line) && dueAt(line) < Date.now() - PAUSE_MS;
    if (lines.length > 0 && !fits) return lines;
    lines.push(line);
    next += of;
    if (!fits) return lines;
  }
  return lines;
}

function isPlain({ kind, wait, once: tried }: Line): boolean {
  return kind === 'turn' && !wait && !tried;
}

function dueAt({ due }: Line): number {
  return startedAt + due * lastsMs;
}

async function saveOne(line: Line): Promise<void> {
  do {
    const receipt = await attempt([line], () => save(line));
    if (receipt) {
      tell({ type: 'acknowledged', number: line.number, finished: receipt.tokenCount !== null });
      return;
    }
    await sleep(PAUSE_MS);
  } while (!line.once);
}

async function saveMany(lines: readonly Line[]): Promise<void> {
  const turns = lines.flatMap((line) => (line.kind === 'turn' ? [line.input] : []));
  while (!(await attempt(lines, () => memory.saveChats(turns)))) await sleep(PAUSE_MS);
  for (const { number } of lines) tell({ type: 'acknowledged', number, finished: false });
}

async function save(line: Line): Promise<Receipt> {
  const options = line.wait ? { wait: WAIT_MS } : {};
  return line.kind === 'turn' ? memory.saveChat(line.input, options) : memory.saveReflection(line.input, options);
}

/** Null when it failed; what should not have failed is told, and repeated all the same. */
async function attempt<T>([line]: readonly Line[], work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    const transient = TRANSIENT.some((code) => isError(error, code));
    const code = error instanceof MnemoqError ? error.code : 'unexpected';
    if (transient) tell({ type: 'failed', code });
    else tell({ type: 'refused', number: line?.number ?? -1, reason: `${code}: ${messageOf(error)}` });
    return null;
  }
}

function tell(report: Report): void {
  process.send?.(report);
}
