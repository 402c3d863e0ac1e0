/**
 * **test/judges/runner/**: the program behind `npm run judges`: which judges there are, and what each of them needs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Argument, Command } from 'commander';
import { untilSignal } from '../../../cli/process/until-signal.ts';
import { CommandEnd, EXIT, report } from '../../../cli/terminal/exit.ts';
import { counted, mark, print, printJson, printTable, say } from '../../../cli/terminal/output.ts';
import { type FormOutcome, runForm, tailOf } from '../../deep/runner/form-run.ts';
import { limitOf } from '../../deep/runner/forms.ts';
import { duration, printSummary } from '../../deep/runner/summary.ts';
import { type Judge, JUDGES } from './judges.ts';

interface LeftOut {
  name: string;
  why: string;
}

const program = new Command('judges')
  .description('let programs of others judge Mnemoq, all of them or those named, one after the other')
  .addArgument(new Argument('[judge...]', 'only these').choices(JUDGES.map(({ name }) => name)))
  .option('--list', 'print who judges what, and run nothing')
  .option('--json', 'print everything as one JSON object')
  .action(async (names: string[], { list, json }: { list?: true; json?: true }) => {
    const asked = names.length === 0 ? JUDGES : JUDGES.filter(({ name }) => names.includes(name));
    if (list) {
      printList(asked, json);
      return;
    }
    const interrupted = new AbortController();
    void untilSignal().then(() => interrupted.abort());
    const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-judges-'));
    const { outcomes, left } = await runJudges(asked, dir, interrupted.signal);
    const unhappy = outcomes.filter(({ passed }) => !passed);
    if (unhappy.length === 0) rmSync(dir, { recursive: true });
    if (json)
      printJson({ judges: outcomes.map((outcome) => ({ ...outcome, who: whoOf(outcome.name) })), leftOut: left });
    else printSummary('judge', outcomes, left);
    const found = unhappy.map(({ name }) => name).join(', ');
    if (found) throw new CommandEnd(EXIT.failed, `not content: ${found}`);
    if (outcomes.length === 0) throw new CommandEnd(EXIT.failed, 'no judge could run');
    if (!json)
      print(`${counted(outcomes.length, 'judge')} content${left.length > 0 ? `, ${left.length} left out` : ''}`);
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** One after the other. A judge whose needs cannot be met is left out, with the command that would meet them. */
async function runJudges(asked: readonly Judge[], dir: string, interrupted: AbortSignal) {
  const outcomes: FormOutcome[] = [];
  const left: LeftOut[] = [];
  for (const judge of asked) {
    const { name, who } = judge;
    const missing = interrupted.aborted ? 'interrupted' : missingFor(judge);
    if (missing !== null) {
      left.push({ name, why: `left out: ${missing}` });
      say(`– ${name}: left out: ${missing}`);
      continue;
    }
    say(`  ${name} … (${who}, at most ${limitOf(judge)} min)`);
    const outcome = await runForm(judge, dir, interrupted);
    outcomes.push(outcome);
    say(`${mark(outcome.passed)} ${name}: ${outcome.verdict} (${duration(outcome.seconds)})`);
    if (outcome.log !== null) say(`${tailOf(outcome.log)}\n  the whole output: ${outcome.log}`);
  }
  return { outcomes, left };
}

function missingFor({ needs }: Judge): string | null {
  for (const need of needs) {
    const missing = need.get();
    if (missing !== null) return missing;
  }
  return null;
}

function printList(judges: readonly Judge[], json = false): void {
  if (json) printJson(judges.map(({ name, who, shows }) => ({ name, who, judges: shows })));
  else
    printTable(
      ['judge', 'who', 'judges'],
      judges.map(({ name, who, shows }) => [name, who, shows]),
    );
}

function whoOf(name: string): string | undefined {
  return JUDGES.find((judge) => judge.name === name)?.who;
}
