import { print, printTable } from '../cli/terminal/output.ts';

/** A measurement as people read it. The ratio stands first: it says more than numbers of a busy machine. */
export interface ResultTable {
  title: string;
  head: readonly string[];
  rows: readonly (readonly (string | number | null)[])[];
  /** How it was measured. */
  note: string;
}

/** Prints a table under its title, with its note. */
export function printResult({ title, head, rows, note }: ResultTable): void {
  print(`\n${title}`);
  printTable(head, rows);
  print(note);
}

/** A ratio in words for a table: `12.3 ×`. */
export function times(ratio: number): string {
  return `${ratio.toPrecision(3)} ×`;
}
