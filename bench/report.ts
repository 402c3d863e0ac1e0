import { print, printTable } from '../cli/terminal/output.ts';

/** A measurement in the form in which people read it. The ratio stands first, as it says more than numbers of a busy machine. */
export interface ResultTable {
  title: string;
  head: readonly string[];
  rows: readonly (readonly (string | number | null)[])[];
  /** How it was measured. */
  note: string;
}

/** Prints a table with its title and its note. */
export function printResult({ title, head, rows, note }: ResultTable): void {
  print(`\n${title}`);
  printTable(head, rows);
  print(note);
}

/** Writes a ratio for a table, such as `12.3 ×`. */
export function times(ratio: number): string {
  return `${ratio.toPrecision(3)} ×`;
}
