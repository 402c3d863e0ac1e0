/**
 * **cli/commands/keeping/**: commands that export, restore, erase or encrypt anew what was saved long ago.
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { contextOption, fromOption, toOption, userOption } from '../../terminal/arguments.ts';
import type {
  ArchiveFailure,
  ArchiveOptions,
  ArchivePart,
  TrainingDataOptions,
  MemoryCore,
} from '../../../producers/index.ts';
import { MODULES } from '../../../shared/records/records.ts';
import { writeCar } from './car-file.ts';
import { CommandEnd, EXIT } from '../../terminal/exit.ts';
import { counted, print, progressBar, say, sayColors } from '../../terminal/output.ts';
import { untilSignal } from '../../process/until-signal.ts';
import { withMemory } from '../with-memory.ts';

interface Options {
  format: TrainingDataOptions['format'];
  module?: NonNullable<TrainingDataOptions['module']>;
  user?: string;
  context?: string;
  from?: string;
  to?: string;
  output?: string;
  car?: string;
  withKeys?: true;
}

/** The number of documents that are named one by one. The others are only counted. */
const TOLD = 100;

export function exportCommand(): Command {
  return new Command('export')
    .description('committed records as JSON lines for training, oldest first')
    .addOption(
      new Option('-f, --format <name>', 'token ids, or text as OpenAI or ShareGPT have it')
        .choices(['tokens', 'openai', 'sharegpt'])
        .default('openai'),
    )
    .addOption(new Option('-m, --module <name>', 'only records of this kind').choices(MODULES))
    .addOption(userOption('only of this user'))
    .addOption(contextOption('only of this conversation'))
    .addOption(fromOption('from this moment on, ISO 8601 with zone'))
    .addOption(toOption('before this moment, ISO 8601 with zone'))
    .option('-o, --output <file>', 'write to a new file instead of standard output')
    .addOption(
      new Option('--car <file>', 'instead: pinned documents, as they are on IPFS, into a new CAR file').conflicts(
        'output',
      ),
    )
    .option('--with-keys', 'with --car: also whose they are and the wrapped keys of private ones, for mnemoq restore')
    .addHelpText(
      'after',
      '\nWhat is only in Redis yet is not in it: mnemoq flush first. Exit code 1 when a pinned document could not be fetched.',
    )
    .action(async ({ user, context, output, car, withKeys, ...rest }: Options, command: Command) => {
      if (withKeys && car === undefined) command.error('error: --with-keys is for --car');
      const options = {
        ...rest,
        ...(user !== undefined && { userId: user }),
        ...(context !== undefined && { contextId: context }),
      };
      const interrupted = new AbortController();
      void untilSignal().then(() => interrupted.abort());
      if (car !== undefined) {
        const { format: _lines, ...filter } = options;
        const archive = { ...filter, withKeys: withKeys === true } as ArchiveOptions; // exportArchive itself refuses chat
        return withMemory((memory) => exportCar(memory, archive, car, interrupted.signal));
      }
      const lines = await withMemory((memory) => writeExport(memory, options, output, interrupted.signal));
      say(`${counted(lines, 'line')} written`);
    });
}

async function exportCar(
  memory: MemoryCore,
  options: ArchiveOptions,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const total = await memory.countArchive(options);
  const bar = progressBar('exporting', total);
  const failures: ArchiveFailure[] = [];
  let [documents, failed] = [0, 0];
  const onPart = (part: ArchivePart) => {
    if (signal.aborted) {
      throw new CommandEnd(EXIT.failed, `stopped after ${counted(documents, 'document')}; no file is kept`);
    }
    documents += part.documents;
    failed += part.failures.length;
    failures.push(...part.failures.slice(0, TOLD - failures.length));
    bar.update(documents + failed, Math.max(documents + failed, total));
  };
  const root = await writeCar(file, memory.exportArchive(options), onPart).finally(() => bar.stop());
  print(root);
  say(`${counted(documents, 'document')} written`);
  for (const { cid, reason } of failures) say(sayColors.yellow(`${cid} is missing: ${reason}`));
  if (failed > failures.length) say(sayColors.yellow(`… and ${counted(failed - failures.length, 'more')}`));
  if (failed > 0) throw new CommandEnd(EXIT.failed, `${counted(failed, 'pinned document')} could not be fetched`);
}

async function writeExport(
  memory: MemoryCore,
  options: TrainingDataOptions,
  file: string | undefined,
  signal: AbortSignal,
): Promise<number> {
  const total = await memory.countTrainingData(options);
  if (file === undefined) return writeLines(memory.exportTrainingData(options), process.stdout, signal);
  // It never overwrites a file, which may be the export of yesterday.
  const out = createWriteStream(file, { flags: 'wx', mode: 0o600 });
  await once(out, 'open');
  const bar = progressBar('exporting', total);
  try {
    const lines = await writeLines(memory.exportTrainingData(options), out, signal, (done) =>
      bar.update(done, Math.max(done, total)),
    );
    out.end();
    await once(out, 'close');
    return lines;
  } catch (error) {
    // The incomplete file is removed, because it would look like a complete one.
    await rm(file);
    throw error;
  } finally {
    bar.stop();
  }
}

async function writeLines(
  lines: AsyncIterable<string>,
  out: NodeJS.WritableStream,
  signal: AbortSignal,
  wrote?: (count: number) => void,
): Promise<number> {
  let count = 0;
  for await (const line of lines) {
    if (signal.aborted) throw new CommandEnd(EXIT.failed, `stopped after ${counted(count, 'line')}; no file is kept`);
    if (!out.write(`${line}\n`)) await once(out, 'drain');
    count += 1;
    wrote?.(count);
  }
  return count;
}
