/**
 * **test/mutants/**: a program that makes known mistakes in a copy of the code, one at a time, and shows that a test sees each
 * of them.
 */
import { Command, Option } from 'commander';
import { CommandEnd, EXIT, report } from '../../cli/terminal/exit.ts';
import { counted, mark, print, printJson, printTable, say } from '../../cli/terminal/output.ts';
import { untilSignal } from '../../cli/process/until-signal.ts';
import { messageOf } from '../../shared/errors.ts';
import { runJest } from './jest-run.ts';
import type { Mutant } from './list/mutant.ts';
import { MUTANTS } from './mutants.ts';
import { Tree } from './tree.ts';
import type { Verdict } from './verdict.ts';

/** This includes the start of Supabase on a busy machine. */
const LIMIT_MS = 240_000;
/**
 * The settings of the model. The sequences are the same every time, so that a mutant that is killed today is killed tomorrow.
 * They are more than in `npm test`, because the first failure ends the run. They are not shrunk, because nobody reads them.
 */
const MODEL = { MODEL_SEED: '1', MODEL_RUNS: '60', MODEL_SHRINK: 'no' };
const RUN = { limitMs: LIMIT_MS, environment: MODEL };

interface Trial {
  name: string;
  breaks: string;
  caughtBy: string;
  killed: boolean;
  /** What the test has found, or why it has found nothing. */
  finding: string;
  seconds: number;
}

const program = new Command('mutants')
  .description('break the code in known ways, one at a time in a copy, and show that a test sees each of them')
  .option('--json', 'print the outcome as JSON')
  .option('--list', 'print what there is and run nothing')
  .addOption(new Option('--only <name...>', 'run only these').choices(MUTANTS.map(({ name }) => name)))
  .action(async ({ json, list, only }: { json?: true; list?: true; only?: string[] }) => {
    const chosen = MUTANTS.filter(({ name }) => only?.includes(name) ?? true);
    if (list) {
      printList(chosen, json);
      return;
    }
    const interrupted = new AbortController();
    void untilSignal().then(() => interrupted.abort());
    const notGreen = await filesNotGreen(chosen, interrupted.signal);
    const trials: Trial[] = [];
    for (const mutant of chosen) trials.push(await tryMutant(mutant, notGreen, interrupted.signal));
    printTrials(trials, json);
    const survivors = trials.filter(({ killed }) => !killed);
    if (survivors.length > 0) throw new CommandEnd(EXIT.failed, `${counted(survivors.length, 'mutant')} not killed`);
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/**
 * Runs the tests on the code as it is, and returns the files that are not green, with the reason. A red test of such a file would
 * prove nothing about a mutant.
 */
async function filesNotGreen(chosen: readonly Mutant[], interrupted: AbortSignal): Promise<Map<string, string>> {
  const notGreen = new Map<string, string>();
  for (const [file, mutants] of Map.groupBy(chosen, ({ caughtBy }) => caughtBy)) {
    const tests = mutants.map(({ test }) => test);
    const test = tests.includes(undefined) ? undefined : [...new Set(tests)].join('|');
    const { verdict, seconds } = await inTree((tree) =>
      runJest(tree, { file, test, ...RUN, forceExit: false }, interrupted),
    );
    throwIfInterrupted(interrupted);
    const isGreen = verdict.kind === 'green';
    if (!isGreen) notGreen.set(file, inWords(verdict));
    say(`${mark(isGreen)} ${file} without a mutant (${seconds} s)${isGreen ? '' : `: ${inWords(verdict)}`}`);
  }
  return notGreen;
}

async function tryMutant(
  mutant: Mutant,
  notGreen: ReadonlyMap<string, string>,
  interrupted: AbortSignal,
): Promise<Trial> {
  const { name, breaks, caughtBy, test } = mutant;
  const before = notGreen.get(caughtBy);
  if (before !== undefined) {
    return { name, breaks, caughtBy, killed: false, finding: `not green without a mutant: ${before}`, seconds: 0 };
  }
  const { verdict, seconds } = await inTree(async (tree) => {
    try {
      tree.mutate(mutant);
    } catch (error) {
      return { kind: 'broken', reason: messageOf(error) } as const;
    }
    return runJest(tree, { file: caughtBy, test, ...RUN, forceExit: true }, interrupted);
  });
  throwIfInterrupted(interrupted);
  const killed = verdict.kind === 'red' || (verdict.kind === 'hung' && mutant.hangs === true);
  say(`${mark(killed)} ${name} (${seconds} s): ${inWords(verdict)}`);
  return { name, breaks, caughtBy, killed, finding: inWords(verdict), seconds };
}

function throwIfInterrupted({ aborted }: AbortSignal): void {
  if (aborted) throw new CommandEnd(EXIT.failed, 'interrupted');
}

async function inTree(run: (tree: Tree) => Promise<Verdict>): Promise<{ verdict: Verdict; seconds: number }> {
  const start = performance.now();
  const tree = new Tree();
  try {
    return { verdict: await run(tree), seconds: Math.round((performance.now() - start) / 1000) };
  } finally {
    tree.remove();
  }
}

function inWords(verdict: Verdict): string {
  if (verdict.kind === 'green') return 'the test is green';
  return verdict.kind === 'hung' ? 'not through in time' : verdict.reason;
}

function printList(mutants: readonly Mutant[], json: true | undefined): void {
  if (json) printJson(mutants);
  else printTable(['mutant', 'breaks', 'in', 'caught by'], mutants.map(listed));
}

function listed({ name, breaks, file, caughtBy }: Mutant): string[] {
  return [name, breaks, file, caughtBy];
}

function printTrials(trials: readonly Trial[], json: true | undefined): void {
  if (json) {
    printJson(trials);
    return;
  }
  const rows = trials.map(({ name, breaks, caughtBy, seconds, killed, finding }) => {
    return [name, breaks, caughtBy, seconds, killed ? 'killed' : `SURVIVED: ${finding}`];
  });
  printTable(['mutant', 'breaks', 'caught by', 's', 'outcome'], rows);
  print(`${trials.filter(({ killed }) => killed).length} of ${trials.length} killed`);
}
