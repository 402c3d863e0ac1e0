import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { Command, Option } from 'commander';
import type { ExportOptions } from '../../producers/index.ts';
import { MODULES } from '../../shared/records.ts';
import { counted, say } from '../output.ts';
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

/** How often the count of lines is told on a terminal. */
const TELL_EVERY = 1_000;

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
      const lines = await withMemory((memory) => writeLines(memory.exportTrainingData(options), output));
      say(`${counted(lines, 'line')} written`);
    });
}

async function writeLines(lines: AsyncIterable<string>, file: string | undefined): Promise<number> {
  // Never over a file that is there: it may be the export of yesterday.
  const out = file === undefined ? process.stdout : createWriteStream(file, { flags: 'wx', mode: 0o600 });
  if (file !== undefined) await once(out, 'open');
  let count = 0;
  for await (const line of lines) {
    if (!out.write(`${line}\n`)) await once(out, 'drain');
    count += 1;
    if (process.stderr.isTTY && file !== undefined && count % TELL_EVERY === 0)
      process.stderr.write(`\r${count} lines`);
  }
  if (out !== process.stdout) {
    out.end();
    await once(out, 'close');
  }
  return count;
}
