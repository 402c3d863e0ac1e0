import { randomBytes } from 'node:crypto';
import { Command, InvalidArgumentError, Option } from 'commander';
import { wholeNumber } from '../../cli/terminal/arguments.ts';
import { EXIT, report } from '../../cli/terminal/exit.ts';
import { printJson, progressBar, say } from '../../cli/terminal/output.ts';
import { untilSignal } from '../../cli/process/until-signal.ts';
import { FAULT_KINDS, type FaultKind } from './storm/faults.ts';
import { printOutcome } from './report.ts';
import { runChaos, type RunOptions } from './run.ts';

const program = new Command('test:chaos')
  .description(
    'save and read while everything breaks, then compare all that is stored with what was acknowledged; exit code 0 only if every count is 0',
  )
  .option('--turns <count>', 'turns to save', wholeNumber(), 20_000)
  .option('--reflections <count>', 'reflections to save', wholeNumber(), 200)
  .option('--minutes <count>', 'how long the saving takes', minutes, 8)
  .option('--seed <text>', 'decides texts, conversations and faults; the same seed, the same run', randomSeed())
  .addOption(new Option('--appendfsync <policy>', 'of Redis').choices(['always', 'everysec']).default('always'))
  .addOption(new Option('--supabase <which>', 'to save to').choices(['postgrest', 'embedded']).default('postgrest'))
  .option('--workers <count>', 'workers of each kind', wholeNumber(16), 2)
  .addOption(new Option('--faults <kind...>', 'only these').choices(FAULT_KINDS))
  .option('--json', 'print the outcome as one JSON object')
  .action(async ({ json, faults, ...given }: Given) => {
    const stopping = new AbortController();
    void untilSignal().then(() => stopping.abort());
    const kinds = faults ?? FAULT_KINDS;
    const bar = progressBar('saved', given.turns + given.reflections);
    const outcome = await runChaos(
      { ...given, kinds },
      { say, saved: (count, of) => bar.update(count, of) },
      stopping.signal,
    ).finally(() => bar.stop());
    if (outcome === null) {
      say('stopped before the end');
      process.exitCode = EXIT.failed;
      return;
    }
    if (json) printJson(outcome);
    else printOutcome(outcome);
    process.exitCode = outcome.passed ? EXIT.ok : EXIT.failed;
  });

type Given = Omit<RunOptions, 'kinds'> & { json?: true; faults?: FaultKind[] };

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function minutes(value: string): number {
  const number = Number(value);
  if (number > 0 && number <= 600) return number;
  throw new InvalidArgumentError('expected a number above 0, at most 600');
}

function randomSeed(): string {
  return randomBytes(4).toString('hex');
}
