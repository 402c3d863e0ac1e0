import { SingleBar, Presets } from 'cli-progress';
import Table from 'cli-table3';
import colors from 'picocolors';

/** Data goes to standard output, everything said about it to standard error. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Rows under a head, aligned, for people. */
export function printTable(head: readonly string[], rows: readonly (readonly (string | number | null)[])[]): void {
  const table = new Table({
    head: head.map((title) => colors.bold(title)),
    style: { head: [], border: [] },
    wordWrap: true,
  });
  table.push(...rows.map((row) => row.map((cell) => (cell === null ? '' : String(cell)))));
  print(table.toString());
}

export function mark(ok: boolean): string {
  return ok ? colors.green('✓') : colors.red('✗');
}

export { colors };

export interface ProgressBar {
  update(done: number, total?: number): void;
  stop(): void;
}

/** A bar on standard error where that is a terminal; elsewhere one line at the end, so that logs stay readable. */
export function progressBar(label: string, total: number): ProgressBar {
  if (!process.stderr.isTTY) return plainProgress(label, total);
  const bar = new SingleBar(
    { format: `${label.padEnd(22)} {bar} {value}/{total} {eta_formatted}`, stream: process.stderr, hideCursor: true },
    Presets.shades_classic,
  );
  bar.start(total, 0);
  return {
    update(done, newTotal) {
      if (newTotal !== undefined) bar.setTotal(newTotal);
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}

function plainProgress(label: string, total: number): ProgressBar {
  let shown = { done: 0, total };
  return {
    update: (done, newTotal = shown.total) => (shown = { done, total: newTotal }),
    stop: () => say(`${label.padEnd(22)} ${shown.done}/${shown.total}`),
  };
}
