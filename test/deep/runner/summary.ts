import { mark, print, printTable } from '../../../cli/terminal/output.ts';
import type { FormOutcome } from './form-run.ts';

interface NotRun {
  name: string;
  why: string;
}

/** What ran and how it ended, then what did not run and why. */
export function printSummary(noun: string, outcomes: readonly FormOutcome[], left: readonly NotRun[]): void {
  const run = outcomes.map(({ name, passed, verdict, seconds, log }) => [
    `${mark(passed)} ${name}`,
    duration(seconds),
    log === null ? verdict : `${verdict}: ${log}`,
  ]);
  const notRun = left.map(({ name, why }) => [`– ${name}`, '', why]);
  print('');
  printTable([noun, 'took', 'outcome'], [...run, ...notRun]);
}

export function duration(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
