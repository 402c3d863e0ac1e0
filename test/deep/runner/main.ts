/**
 * **test/deep/runner/**: the program behind `npm run test:deep`: which long forms there are, and how one is run and ended. The
 * forms themselves are elsewhere.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Argument, Command, InvalidArgumentError } from 'commander';
import { CommandEnd, EXIT, report } from '../../../cli/terminal/exit.ts';
import { counted, mark, print, printTable, say } from '../../../cli/terminal/output.ts';
import { untilSignal } from '../../../cli/process/until-signal.ts';
import { type FormOutcome, runForm, tailOf } from './form-run.ts';
import { type Form, FORMS, limitOf } from './forms.ts';
import { duration, printSummary } from './summary.ts';

interface Given {
  list?: true;
  minutes?: number;
}

const NAMES = FORMS.map(({ name }) => name);

const program = new Command('test:deep')
  .description('run the long forms of the tests, all of them or those named, one after the other')
  .addArgument(new Argument('[form...]', 'only these').choices(NAMES))
  .option('--list', 'print what there is, with what it usually takes, and run nothing')
  .option(
    '--minutes <count>',
    'take forms in their order while their usual durations fit into so many minutes',
    minutes,
  )
  .action(async (names: string[], { list, minutes }: Given) => {
    const asked = names.length === 0 ? FORMS : FORMS.filter(({ name }) => names.includes(name));
    if (list) {
      printList(asked);
      return;
    }
    const interrupted = new AbortController();
    void untilSignal().then(() => interrupted.abort());
    const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-deep-'));
    const { outcomes, left } = await runForms(asked, minutes, dir, interrupted.signal);
    if (outcomes.every(({ passed }) => passed)) rmSync(dir, { recursive: true });
    const notRun = left.map(({ name, minutes }) => ({ name, why: `left out (usually ${minutes} min)` }));
    printSummary('form', outcomes, notRun);
    const failed = outcomes.filter(({ passed }) => !passed).length;
    if (interrupted.signal.aborted) throw new CommandEnd(EXIT.failed, 'interrupted');
    if (outcomes.length === 0) throw new CommandEnd(EXIT.usage, 'no form takes so little time');
    if (failed > 0) throw new CommandEnd(EXIT.failed, `${counted(failed, 'form')} of ${outcomes.length} did not pass`);
    print(`${counted(outcomes.length, 'form')} passed`);
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/**
 * One after the other. With a number of minutes, a form begins only if the time that has passed and what it usually takes
 * are together no more than that: so a slow machine runs fewer of them, and says which it has left out.
 */
async function runForms(asked: readonly Form[], minutes: number | undefined, dir: string, interrupted: AbortSignal) {
  const outcomes: FormOutcome[] = [];
  const left: Form[] = [];
  const start = performance.now();
  for (const form of asked) {
    const passedMinutes = (performance.now() - start) / 60_000;
    if (interrupted.aborted || (minutes !== undefined && passedMinutes + form.minutes > minutes)) {
      left.push(form);
      continue;
    }
    say(`  ${form.name} … (usually ${form.minutes} min, at most ${limitOf(form)} min)`);
    const outcome = await runForm(form, dir, interrupted);
    outcomes.push(outcome);
    say(`${mark(outcome.passed)} ${form.name}: ${outcome.verdict} (${duration(outcome.seconds)})`);
    if (outcome.log !== null) say(`${tailOf(outcome.log)}\n  the whole output: ${outcome.log}`);
  }
  return { outcomes, left };
}

function printList(forms: readonly Form[]): void {
  printTable(
    ['form', 'minutes', 'at most', 'shows that'],
    forms.map((form) => [form.name, form.minutes, limitOf(form), form.shows]),
  );
}

function minutes(value: string): number {
  const number = Number(value);
  if (number > 0) return number;
  throw new InvalidArgumentError('expected a number above 0');
}
