/**
 * A program that saves its part of the script as a service does: in several lanes, and after an error it pauses and repeats the
 * save with the same idempotency key. Its parent tells it what to save, and is told of every acknowledgement. It ends when its
 * parent is gone.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryCore, type Receipt } from '../../../producers/index.ts';
import { isError, MnemoqError, messageOf } from '../../../shared/errors.ts';
import { type Line, Script, type ScriptSize } from './script.ts';

/** The first message to a producer. */
export interface Assignment {
  size: ScriptSize;
  /** It saves every `of`-th line, beginning with line `part`. */
  part: number;
  of: number;
  /** The time at which the script began, and its duration, in ms. */
  startedAt: number;
  lastsMs: number;
  /** The lines that an earlier producer, which is gone, has saved. */
  saved: readonly number[];
}

/** The messages of a producer. */
export type Report =
  | { type: 'acknowledged'; number: number; finished: boolean }
  /** A save that the memory has refused without a reason. */
  | { type: 'refused'; number: number; reason: string }
  /** A save that failed as it may during a fault. */
  | { type: 'failed'; code: string }
  | { type: 'done' };

const LANES = 12;
const PAUSE_MS = 200;
const WAIT_MS = 4_000;
/** A lane that finds lines overdue saves up to this many at once. */
const BULK = 20;
/** The codes of errors that tell of a part that is away. After such an error the same save is repeated. */
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

/** Takes the next line, or several plain turns when they are overdue. */
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

/** Returns null when the save has failed. A save that should not have failed is reported, and repeated all the same. */
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
