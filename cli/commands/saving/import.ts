/**
 * **cli/commands/saving/**: commands that save records or move saved records on.
 */
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
import { colors, counted, print, printJson, progressBar, say, sayColors } from '../../terminal/output.ts';
import { untilSignal } from '../../process/until-signal.ts';
import { withMemory } from '../with-memory.ts';
import { open, decompress } from './import-source.ts';
import { roomInQueue, waitUntilCached } from './import-queue.ts';

/** The number of turns that are put into the queue at once. BullMQ is fastest with about this number. */
const CHUNK = 500;
/** The longest prefix. It leaves room in an idempotency key for a colon and any line number. */
const PREFIX_LENGTH = 490;
/** The longest line: two of the longest texts in which each character is escaped, and the rest of the line. */
const LINE_BYTES = 12 * TEXT_BYTES + 10_000;
/** The number of bad lines that are reported one by one. The others are only counted. */
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

export interface ImportResult {
  lines: number;
  queued: number;
  failed: number;
  failures: FailedLine[];
  /** With --wait: whether every queued turn is cached by now. It is null without --wait. */
  cached: boolean | null;
  /** The reason why `cached` is false. Otherwise it is null. */
  reason: string | null;
}

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
