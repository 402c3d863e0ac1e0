/**
 * **cli/commands/saving/**: commands that put something in or move it on.
 */
import { constants, createReadStream, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { addAbortSignal, pipeline, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { Command } from 'commander';
import { jsonOption, waitOption } from '../../terminal/arguments.ts';
import type { ChatInput, MemoryCore } from '../../../producers/index.ts';
import { bytesOf, turnInput, TURNS_BYTES } from '../../../producers/saving/new-job.ts';
import { MnemoqError, messageOf } from '../../../shared/errors.ts';
import { TEXT_BYTES } from '../../../shared/records/jobs.ts';
import { identifierUpTo } from '../../../shared/identifiers.ts';
import { validateSave } from '../../../shared/records/conversation-id.ts';
import { validate } from '../../../shared/validate.ts';
import { CommandEnd, EXIT } from '../../terminal/exit.ts';
import { readLines } from '../../terminal/lines.ts';
import {
  colors,
  counted,
  print,
  printJson,
  type ProgressBar,
  progressBar,
  say,
  sayColors,
} from '../../terminal/output.ts';
import { untilSignal } from '../../process/until-signal.ts';
import { watchForSilence, withMemory } from '../with-memory.ts';

/** Turns put into the queue at once: BullMQ is fastest around this. */
const CHUNK = 500;
/** Leaves room for a colon and any line number in an idempotency key. */
const PREFIX_LENGTH = 490;
/** Jobs waiting at most: an import must not fill Redis faster than the workers empty the queue. */
const MAX_WAITING = 5_000;
const POLL_MS = 100;
const NO_WORKER = 'turns are waiting and none is taken: is a chat worker running? (mnemoq worker chat)';
/** Room for two longest texts, each character escaped, and the rest of the line. */
const LINE_BYTES = 12 * TEXT_BYTES + 10_000;
/** Bad lines reported one by one; the rest are only counted. */
const REPORTED = 100;

interface ImportOptions {
  wait?: number;
  idempotencyPrefix?: string;
  json?: true;
}

interface FailedLine {
  line: number;
  reason: string;
}

interface ImportResult {
  lines: number;
  queued: number;
  failed: number;
  failures: FailedLine[];
  /** With --wait: whether every queued turn is cached by now; null without it. */
  cached: boolean | null;
  /** Why `cached` is false; otherwise null. */
  reason: string | null;
}

/** Where the bytes come from. */
type Source = Readable & { bytesRead: number };

export function importCommand(): Command {
  return new Command('import')
    .description('save turns from a JSON Lines file, plain or gzipped; bad lines are reported by number and skipped')
    .argument(
      '<file>',
      'lines of {contextId,userId,userMessage,assistantMessage,id?,createdAt?}; - reads standard input',
    )
    .addOption(waitOption('wait until every turn is cached, at most this long after the last line'))
    .option(
      '--idempotency-prefix <prefix>',
      'derive ids from this and the line number, so that importing the same file again adds nothing',
    )
    .addOption(jsonOption('print the result as JSON'))
    .addHelpText('after', '\nExit code 1 when a line was bad. Ctrl-C stops it; what is queued by then stays queued.')
    .action(async (file: string, options: ImportOptions) => {
      const interrupted = new AbortController();
      void untilSignal().then(() => interrupted.abort());
      const result = await withMemory((memory) => importFile(file, options, memory, interrupted.signal));
      if (options.json) printJson(result);
      else printResult(result);
      process.exitCode = result.failed === 0 && result.cached !== false ? EXIT.ok : EXIT.failed;
    });
}

export async function importFile(
  file: string,
  options: ImportOptions,
  memory: MemoryCore,
  signal: AbortSignal,
): Promise<ImportResult> {
  const { idempotencyPrefix: prefix } = options;
  if (prefix !== undefined) validate(identifierUpTo(PREFIX_LENGTH), prefix, '--idempotency-prefix');
  const result: ImportResult = { lines: 0, queued: 0, failed: 0, failures: [], cached: null, reason: null };
  try {
    const { failed: failedBefore = 0 } = (await memory.getStats()).queues.chat;
    await queueLines(file, options, memory, signal, result);
    if (options.wait === undefined) return result;
    const failed = await waitUntilCached(memory, result, { ...options, wait: options.wait }, signal);
    if (failed === null) result.reason = `not every turn was cached within ${options.wait} ms; they will be`;
    else if (failed > failedBefore) result.reason = 'a chat job has failed meanwhile: mnemoq dashboard shows why';
    result.cached = result.reason === null;
    return result;
  } catch (error) {
    throw described(error, file, result, signal);
  }
}

async function queueLines(
  file: string,
  { json, idempotencyPrefix }: ImportOptions,
  memory: MemoryCore,
  signal: AbortSignal,
  result: ImportResult,
): Promise<void> {
  const { source, size } = await open(file, signal);
  const bar = json ? null : progressBar('reading (KiB)', Math.ceil(size / 1024));
  let chunk: ChatInput[] = [];
  let bytes = 0;
  const send = async () => {
    await roomInQueue(memory, signal);
    if (chunk.length > 0) await memory.saveChats(chunk);
    result.queued += chunk.length;
    chunk = [];
    bytes = 0;
    bar?.update(Math.ceil(source.bytesRead / 1024), Math.ceil(Math.max(size, source.bytesRead) / 1024));
  };
  try {
    for await (const { number, text } of readLines(await decompress(source), LINE_BYTES)) {
      if (text?.trim() === '') continue;
      result.lines++;
      const turn = parseLine(number, text, idempotencyPrefix);
      if ('reason' in turn) {
        result.failed++;
        if (result.failures.length < REPORTED) result.failures.push(turn);
        continue;
      }
      const size = bytesOf(turn);
      if (bytes + size > TURNS_BYTES) await send();
      bytes += size;
      if (chunk.push(turn) === CHUNK) await send();
    }
    await send();
  } finally {
    bar?.stop();
  }
}

async function open(file: string, signal: AbortSignal): Promise<{ source: Source; size: number }> {
  if (file === '-') return { source: addAbortSignal(signal, process.stdin as unknown as Source), size: 0 };
  const about = await stat(file);
  if (about.isDirectory()) throw new Error('it is a folder');
  if (about.isFIFO()) return { source: openPipe(file, signal), size: 0 };
  return { source: createReadStream(file, { signal }), size: about.size };
}

/** Opening a pipe into which nobody writes yet would wait in a thread of Node's, and the process could not even exit. */
function openPipe(file: string, signal: AbortSignal): Source {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  return addAbortSignal(signal, new Socket({ fd, readable: true, writable: false }));
}

/** Gzip is known by its first two bytes (RFC 1952), whatever the file is called. */
async function decompress(source: AsyncIterable<Buffer>): Promise<AsyncIterable<Buffer>> {
  const chunks = source[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  while (start.length < 2) {
    const { done, value } = await chunks.next();
    if (done) break;
    start = Buffer.concat([start, value]);
  }
  const all = async function* () {
    yield start;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  };
  if (start[0] !== 0x1f || start[1] !== 0x8b) return all();
  return pipeline(Readable.from(all()), createGunzip(), () => undefined); // whoever reads it gets its error
}

function parseLine(line: number, text: string | null, prefix: string | undefined): ChatInput | FailedLine {
  if (text === null) return { line, reason: `expected at most ${LINE_BYTES} bytes, received a longer line` };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { line, reason: `expected JSON, received ${counted(text.length, 'character')} of something else` };
  }
  try {
    const turn = validateSave(turnInput, value, 'the turn');
    const named = turn.id !== undefined || turn.idempotencyKey !== undefined;
    return prefix === undefined || named ? (value as ChatInput) : { ...turn, idempotencyKey: `${prefix}:${line}` };
  } catch (error) {
    return { line, reason: messageOf(error) };
  }
}

async function roomInQueue(memory: MemoryCore, signal: AbortSignal): Promise<void> {
  const silence = watchForSilence(NO_WORKER);
  try {
    for (let before = Infinity; ; await sleep(POLL_MS, undefined, { signal })) {
      const now = waiting((await memory.getStats()).queues.chat);
      if (now < MAX_WAITING) return;
      if (now < before) silence.moved();
      before = now;
    }
  } finally {
    silence.stop();
  }
}

/**
 * Resolves when nothing is left in the queue, with how many jobs it has failed in all, and with null when there still is
 * something after `wait` ms.
 */
async function waitUntilCached(
  memory: MemoryCore,
  { queued }: ImportResult,
  { json, wait }: { json?: true; wait: number },
  signal: AbortSignal,
): Promise<number | null> {
  const bar: ProgressBar | null = json ? null : progressBar('caching', queued);
  const silence = watchForSilence(NO_WORKER);
  const end = performance.now() + wait;
  try {
    for (let before = Infinity; ; await sleep(POLL_MS, undefined, { signal })) {
      const { chat } = (await memory.getStats()).queues;
      const left = waiting(chat) + (chat['active'] ?? 0) + (chat['delayed'] ?? 0);
      bar?.update(Math.max(0, queued - left));
      if (left === 0) return chat['failed'] ?? 0;
      if (performance.now() >= end) return null;
      if (left < before) silence.moved();
      before = left;
    }
  } finally {
    silence.stop();
    bar?.stop();
  }
}

function waiting(counts: Record<string, number>): number {
  return (counts['waiting'] ?? 0) + (counts['prioritized'] ?? 0) + (counts['paused'] ?? 0);
}

function described(error: unknown, file: string, { queued }: ImportResult, signal: AbortSignal): Error {
  const soFar = `${counted(queued, 'turn')} queued by then`;
  if (signal.aborted) return new CommandEnd(EXIT.failed, `stopped; ${soFar}, what is queued stays queued`);
  if (error instanceof MnemoqError && error.code !== 'invalid_input') {
    return new MnemoqError(error.code, `${error.message}; ${soFar}, the rest is not`, { cause: error });
  }
  const progress = queued > 0 ? `; ${soFar}` : '';
  return new MnemoqError('invalid_input', `cannot read ${file}: ${messageOf(error)}${progress}`, { cause: error });
}

function printResult({ lines, queued, failed, failures, cached, reason }: ImportResult): void {
  const state = cached ? 'queued and cached' : 'queued';
  print(`${colors.bold(String(queued))} of ${counted(lines, 'line')} ${state}${failed > 0 ? `, ${failed} bad` : ''}`);
  for (const { line, reason } of failures) say(sayColors.yellow(`line ${line}: ${reason}`));
  if (failed > failures.length) say(sayColors.yellow(`… and ${counted(failed - failures.length, 'more bad line')}`));
  if (reason !== null) say(sayColors.yellow(reason));
}
