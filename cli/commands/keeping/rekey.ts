import { Command } from 'commander';
import { jsonOption } from '../../terminal/arguments.ts';
import type { MemoryCore, RekeyOptions, RekeyProgress } from '../../../producers/index.ts';
import { EXIT } from '../../terminal/exit.ts';
import { counted, mark, print, printJson, type ProgressBar, progressBar } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

interface Options {
  dryRun?: true;
  sealPlain?: true;
  json?: true;
}

export function rekeyCommand(): Command {
  return new Command('rekey')
    .description(
      'seal with the first key of MEMORY_ENCRYPTION_KEYS what is sealed with another one, while everything runs',
    )
    .option('-n, --dry-run', 'change nothing, only count')
    .option('--seal-plain', 'also encrypt what is plain and must be encrypted by now')
    .addOption(jsonOption('print the result as JSON'))
    .addHelpText(
      'after',
      '\nStart every process with the new key first in MEMORY_ENCRYPTION_KEYS before this, and keep the old one behind it.' +
        '\nExit code 0 when no other key is in use any more, so that it can go, 1 while one is. Ctrl-C stops it; it goes on' +
        '\nwhere it was when it is run again. docs/keys.md has the whole way.',
    )
    .action(async ({ dryRun, sealPlain, json }: Options) => {
      const options = { dryRun: dryRun === true, sealPlain: sealPlain === true };
      const result = await withMemory((memory) => run(memory, options, json));
      if (json) printJson(result);
      else printResult(result, options);
      process.exitCode = isDone(result, options) ? EXIT.ok : EXIT.failed;
    });
}

async function run(memory: MemoryCore, options: RekeyOptions, json: true | undefined): Promise<RekeyProgress> {
  const bar: ProgressBar | null = json ? null : progressBar('rows looked at', 0);
  let latest: RekeyProgress | null = null;
  try {
    for await (const progress of memory.rekey(options)) {
      bar?.update(progress.done, progress.total);
      latest = progress;
    }
  } finally {
    bar?.stop();
  }
  return latest as unknown as RekeyProgress;
}

function isDone({ left, plain }: RekeyProgress, { sealPlain }: RekeyOptions): boolean {
  return Object.keys(left ?? {}).length === 0 && (!sealPlain || plain === 0);
}

function printResult(
  { keyId, resealed, failures, left, plain }: RekeyProgress,
  { dryRun, sealPlain }: RekeyOptions,
): void {
  const anew = Object.values(resealed).reduce((sum, count) => sum + count, 0);
  if (!dryRun) print(`${counted(anew, 'value')} sealed anew with key ${keyId}`);
  for (const { tier, id, reason } of failures) print(`${mark(false)} ${tier} ${id}: ${reason}`);
  const others = Object.entries(left ?? {});
  for (const [other, count] of others) print(`${mark(false)} ${counted(count, 'value')} sealed with key ${other}`);
  if (others.length === 0)
    print(`${mark(true)} no key but ${keyId} is in use: any other may go from MEMORY_ENCRYPTION_KEYS`);
  if (plain > 0) print(`${mark(false)} ${counted(plain, 'value')} not encrypted${sealPlain ? '' : ' (--seal-plain)'}`);
}
