import { createReadStream, type ReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { Command } from 'commander';
import type { ChatInput, MemoryCore } from '../../producers/index.ts';
import { MnemoqError, messageOf } from '../../shared/errors.ts';
import { chatInput, TEXT_BYTES } from '../../shared/records.ts';
import { validate } from '../../shared/validate.ts';
import { EXIT } from '../exit.ts';
import { readLines } from '../lines.ts';
import { colors, print, printJson, type ProgressBar, progressBar, say } from '../output.ts';
import { withMemory } from './with-memory.ts';

/** Turns put into the queue at once: BullMQ is fastest around this. */
const CHUNK = 500;
/** Jobs waiting at most: an import must not fill Redis faster than the workers empty the queue. */
const MAX_WAITING = 5_000;
const POLL_MS = 100;
/** Room for two longest texts, each character escaped, and the rest of the line. */
const LINE_BYTES = 12 * TEXT_BYTES + 10_000;
/** Bad lines reported one by one; the rest are only counted. */
const REPORTED = 100;

interface ImportOptions {
  wait?: true;
  idempotencyPrefix?: string;
  json?: true;
}

interface BadLine {
  line: number;
  reason: string;
}

interface ImportResult {
  lines: number;
  queued: number;
  bad: number;
  badLines: BadLine[];
  /** With --wait: whether every queued turn is cached. */
  cached: boolean | null;
}

export function importCommand(): Command {
  return new Command('import')
    .description('save turns from a JSON Lines file, plain or gzipped; bad lines are reported by number and skipped')
    .argument(
      '<file>',
      'lines of {contextId,userId,userMessage,assistantMessage,id?,createdAt?}; - reads standard input',
    )
    .option('-w, --wait', 'wait until the workers have cached every turn')
    .option(
      '-k, --idempotency-prefix <prefix>',
      'derive ids from this and the line number, so that importing the same file again adds nothing',
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExit code 1 when a line was bad. Ctrl-C stops between chunks of 500; what is queued stays queued.',
    )
    .action(async (file: string, options: ImportOptions) => {
      const result = await withMemory((memory) => importFile(file, options, memory));
      if (options.json) printJson(result);
      else printResult(result);
      process.exitCode = result.bad === 0 ? EXIT.ok : EXIT.failed;
    });
}

async function importFile(file: string, options: ImportOptions, memory: MemoryCore): Promise<ImportResult> {
  const result: ImportResult = { lines: 0, queued: 0, bad: 0, badLines: [], cached: null };
  const { source, size } = await open(file);
  const bar = options.json ? null : progressBar('reading (KiB)', Math.ceil(size / 1024));
  try {
    let chunk: ChatInput[] = [];
    const send = async () => {
      await roomInQueue(memory);
      if (chunk.length > 0) await memory.saveChats(chunk);
      result.queued += chunk.length;
      chunk = [];
      bar?.update(Math.ceil(source.bytesRead / 1024), Math.ceil(Math.max(size, source.bytesRead) / 1024));
    };
    for await (const { number, text } of readLines(await decompress(source), LINE_BYTES)) {
      if (text?.trim() === '') continue;
      result.lines++;
      const turn = parseLine(number, text, options.idempotencyPrefix);
      if ('reason' in turn) {
        result.bad++;
        if (result.badLines.length < REPORTED) result.badLines.push(turn);
      } else if (chunk.push(turn) === CHUNK) await send();
    }
    await send();
  } catch (error) {
    throw described(error, file, result);
  } finally {
    bar?.stop();
  }
  if (options.wait)
    result.cached = await waitUntilCached(
      memory,
      options.json ? null : progressBar('caching', result.queued),
      result.queued,
    );
  return result;
}

async function open(file: string): Promise<{ source: { bytesRead: number } & AsyncIterable<Buffer>; size: number }> {
  if (file === '-') return { source: process.stdin as unknown as ReadStream, size: 0 };
  const { size } = await stat(file).catch((error: Error) => {
    throw new MnemoqError('invalid_input', `FILE: expected a file that can be read, ${file} is not: ${error.message}`);
  });
  return { source: createReadStream(file), size };
}

/** Gzip is known by its first two bytes (RFC 1952), whatever the file is called. */
async function decompress(source: AsyncIterable<Buffer>): Promise<AsyncIterable<Buffer>> {
  const chunks = source[Symbol.asyncIterator]();
  const first = await chunks.next();
  const all = async function* () {
    if (!first.done) yield first.value;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  };
  const gzipped = !first.done && first.value[0] === 0x1f && first.value[1] === 0x8b;
  return gzipped ? Readable.from(all()).compose(createGunzip()) : all();
}

function parseLine(line: number, text: string | null, prefix: string | undefined): ChatInput | BadLine {
  if (text === null) return { line, reason: `expected at most ${LINE_BYTES} bytes, received a longer line` };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { line, reason: `expected JSON, received ${text.length} characters that are not` };
  }
  try {
    const turn = validate(chatInput, value, 'the turn');
    return prefix === undefined || turn.id ? (value as ChatInput) : { ...turn, idempotencyKey: `${prefix}:${line}` };
  } catch (error) {
    return { line, reason: messageOf(error) };
  }
}

async function roomInQueue(memory: MemoryCore): Promise<void> {
  while (waiting((await memory.getStats()).queues.chat) >= MAX_WAITING) await sleep(POLL_MS);
}

async function waitUntilCached(memory: MemoryCore, bar: ProgressBar | null, total: number): Promise<boolean> {
  for (;;) {
    const { chat } = (await memory.getStats()).queues;
    const left = waiting(chat) + (chat['active'] ?? 0) + (chat['delayed'] ?? 0);
    bar?.update(Math.max(0, total - left));
    if (left === 0) break;
    await sleep(POLL_MS);
  }
  bar?.stop();
  return true;
}

function waiting(counts: Record<string, number>): number {
  return (counts['waiting'] ?? 0) + (counts['prioritized'] ?? 0);
}

function described(error: unknown, file: string, { queued }: ImportResult): Error {
  if (error instanceof MnemoqError && error.code !== 'invalid_input') {
    return new MnemoqError(error.code, `${error.message}; ${queued} turns of ${file} are queued, the rest is not`, {
      cause: error,
    });
  }
  return new MnemoqError(
    'invalid_input',
    `${file} cannot be read to its end: ${messageOf(error)}; ${queued} turns are queued`,
    { cause: error },
  );
}

function printResult({ lines, queued, bad, badLines, cached }: ImportResult): void {
  print(`${colors.bold(String(queued))} of ${lines} lines ${cached ? 'queued and cached' : 'queued'}`);
  for (const { line, reason } of badLines) say(colors.yellow(`line ${line}: ${reason}`));
  if (bad > badLines.length) say(colors.yellow(`… and ${bad - badLines.length} more bad lines`));
}
