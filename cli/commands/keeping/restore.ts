import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import { Command, Option } from 'commander';
import { jsonOption } from '../../terminal/arguments.ts';
import type { CacheRestoration, DocumentRestoration, MemoryCore } from '../../../producers/index.ts';
import { MnemoqError, messageOf } from '../../../shared/errors.ts';
import { CommandEnd, EXIT } from '../../terminal/exit.ts';
import { readLines } from '../../terminal/lines.ts';
import { colors, counted, print, printJson, progressBar, say, sayColors } from '../../terminal/output.ts';
import { untilSignal } from '../../process/until-signal.ts';
import { withMemory } from '../with-memory.ts';

/** The longest line. A CID has 59 characters, and the file may also contain comments on lines of their own. */
const LINE_BYTES = 10_000;

interface Options {
  car?: string;
  cids?: string;
  trustedKey?: string[];
  from?: string;
  json?: true;
}

export function restoreCommand(): Command {
  return new Command('restore')
    .description('fill a Redis that was lost from Supabase, or rows that Supabase lost from pinned documents')
    .addOption(
      new Option('--car <file>', 'rows of the documents in a CAR file of mnemoq export --car').conflicts('cids'),
    )
    .option('--cids <file>', 'rows of public documents on IPFS, a CID a line; - reads standard input')
    .option('-t, --trusted-key <key...>', 'public keys whose documents are taken beside our own (base64url)')
    .addOption(
      new Option(
        '--from <moment>',
        'only conversations with a record from this moment on, ISO 8601 with zone',
      ).conflicts(['car', 'cids']),
    )
    .addOption(jsonOption('print the counts as JSON'))
    .addHelpText(
      'after',
      '\nIt may run while everything else does, and again: what is there stays as it is.' +
        '\nExit code 1 when a document could not be restored; erased ones never are, and are no failure.',
    )
    .action(async ({ car, cids, ...options }: Options) => {
      const interrupted = new AbortController();
      void untilSignal().then(() => interrupted.abort());
      const file = car ?? cids;
      await withMemory(async (memory) => {
        if (file === undefined) return fillCache(memory, options, interrupted.signal);
        return rebuild(memory, file, car === undefined, options, interrupted.signal);
      });
    });
}

async function fillCache(memory: MemoryCore, { from, json }: Options, signal: AbortSignal): Promise<void> {
  const bar = json ? null : progressBar('conversations', 0);
  const onProgress = ({ conversations, total }: CacheRestoration) => {
    if (signal.aborted) throw new CommandEnd(EXIT.failed, `stopped after ${counted(conversations, 'conversation')}`);
    bar?.update(conversations, total);
  };
  const result = await memory
    .restoreCache({ onProgress, ...(from !== undefined && { from }) })
    .finally(() => bar?.stop());
  if (json) return printJson(result);
  const { conversations, filled, records } = result;
  const were = `${filled} filled, ${conversations - filled} were cached`;
  print(`${colors.bold(counted(records, 'record'))} of ${counted(conversations, 'conversation')}: ${were}`);
}

async function rebuild(
  memory: MemoryCore,
  file: string,
  isList: boolean,
  { trustedKey, json }: Options,
  signal: AbortSignal,
): Promise<void> {
  const { source, size } = await open(file, signal);
  const bar = json ? null : progressBar('reading (KiB)', Math.ceil(size / 1024));
  let soFar: DocumentRestoration | null = null;
  const onProgress = (result: DocumentRestoration) => {
    soFar = result;
    const { bytesRead = 0 } = source;
    bar?.update(Math.ceil(bytesRead / 1024), Math.ceil(Math.max(size, bytesRead) / 1024));
  };
  const options = { onProgress, ...(trustedKey && { trustedKeys: trustedKey }) };
  const restoring = isList ? memory.restoreCids(cidsOf(source), options) : memory.restoreArchive(source, options);
  try {
    report(await restoring.finally(() => bar?.stop()), json);
  } catch (error) {
    if (soFar) report(soFar, json);
    if (!signal.aborted) throw error;
    throw new CommandEnd(EXIT.failed, 'stopped; what was restored by then stays, and it may be run again');
  } finally {
    source.destroy();
  }
}

async function open(
  file: string,
  signal: AbortSignal,
): Promise<{ source: Readable & { bytesRead?: number }; size: number }> {
  if (file === '-') return { source: addAbortSignal(signal, process.stdin), size: 0 };
  try {
    const about = await stat(file);
    if (about.isDirectory()) throw new Error('it is a folder');
    return { source: createReadStream(file, { signal }), size: about.size };
  } catch (error) {
    throw new MnemoqError('invalid_input', `cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
}

/** Empty lines and comments are ignored. */
async function* cidsOf(source: AsyncIterable<Buffer>): AsyncGenerator<string> {
  for await (const { number, text } of readLines(source, LINE_BYTES)) {
    if (text === null) throw new MnemoqError('invalid_input', `line ${number}: expected a CID, received a longer line`);
    const cid = text.trim();
    if (cid !== '' && !cid.startsWith('#')) yield cid;
  }
}

function report(result: DocumentRestoration, json: true | undefined): void {
  const { documents, restored, present, missing, refused, unreadable, erased, failures } = result;
  const notRestored = missing + refused + unreadable;
  process.exitCode = notRestored === 0 ? EXIT.ok : EXIT.failed;
  if (json) return printJson(result);
  const others = Object.entries({ 'were there': present, missing, refused, unreadable, erased });
  const rest = others.filter(([, count]) => count > 0).map(([what, count]) => `, ${count} ${what}`);
  print(`${colors.bold(String(restored))} of ${counted(documents, 'document')} restored${rest.join('')}`);
  for (const { cid, outcome, reason } of failures) say(sayColors.yellow(`${cid} ${outcome}: ${reason}`));
  const untold = notRestored + erased - failures.length;
  if (untold > 0) say(sayColors.yellow(`… and ${counted(untold, 'more')}`));
}
