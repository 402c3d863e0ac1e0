import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Command, Option } from 'commander';
import type { ExportOptions, MemoryCore } from '../../producers/index.ts';
import { MODULES } from '../../shared/records.ts';
import { CommandEnd, EXIT } from '../exit.ts';
import { counted, progressBar, say } from '../output.ts';
import { untilSignal } from '../until-signal.ts';
import { withMemory } from './with-memory.ts';

interface Options {
  format: ExportOptions['format'];
  module?: NonNullable<ExportOptions['module']>;
  user?: string;
  context?: string;
  from?: string;
  to?: string;
  output?: string;
}

export function exportCommand(): Command {
  return new Command('export')
    .description('committed records as JSON lines for training, oldest first')
    .addOption(
      new Option('-f, --format <name>', 'token ids, or text as OpenAI or ShareGPT have it')
        .choices(['tokens', 'openai', 'sharegpt'])
        .default('openai'),
    )
    .addOption(new Option('-m, --module <name>', 'only records of this kind').choices(MODULES))
    .option('-u, --user <id>', 'only of this user')
    .option('-c, --context <id>', 'only of this conversation')
    .option('--from <moment>', 'from this moment on, ISO 8601 with zone')
    .option('--to <moment>', 'before this moment, ISO 8601 with zone')
    .option('-o, --output <file>', 'write to a new file instead of standard output')
    .addHelpText('after', '\nWhat is only in Redis yet is not in it: mnemoq flush first.')
    .action(async ({ user, context, output, ...rest }: Options) => {
      const options = {
        ...rest,
        ...(user !== undefined && { userId: user }),
        ...(context !== undefined && { contextId: context }),
      };
      const interrupted = new AbortController();
      void untilSignal().then(() => interrupted.abort());
      const lines = await withMemory((memory) => writeExport(memory, options, output, interrupted.signal));
      say(`${counted(lines, 'line')} written`);
    });
}

async function writeExport(
  memory: MemoryCore,
  options: ExportOptions,
  file: string | undefined,
  signal: AbortSignal,
): Promise<number> {
  const total = await memory.countTrainingData(options);
  if (file === undefined) return writeLines(memory.exportTrainingData(options), process.stdout, signal);
  // Never over a file that is there: it may be the export of yesterday.
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
    // Half an export looks like a whole one.
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
