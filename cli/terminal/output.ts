/**
 * **cli/terminal/**: what a command needs to speak with a person or a program: output, colours, exit codes, arguments, and the
 * lines of a file.
 */
import { SingleBar, Presets } from 'cli-progress';
import Table from 'cli-table3';
import picocolors from 'picocolors';

/** The colours for standard output and for standard error: one may go to a terminal and the other to a file. */
export const colors = colorsOf(process.stdout);
export const sayColors = colorsOf(process.stderr);

/** Data goes to standard output, and every message about it to standard error. */
export function print(line: string): void {
  process.stdout.write(`${harmless(line)}\n`);
}

export function say(line: string): void {
  process.stderr.write(`${harmless(line)}\n`);
}

/** Control characters except tab, line feed, and those that begin one of our own colours. */
// oxlint-disable-next-line no-control-regex -- the expression looks for control characters
const COMMANDS = /(?!\u001b\[(?:1|2|22|3[1-6]|39)m)[\0-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** A stored text may contain commands for a terminal. They are shown in the form in which JSON writes them. */
function harmless(line: string): string {
  return line.replaceAll(COMMANDS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** The names of all lines that cli-table3 would draw. */
const NO_LINES = Object.fromEntries(
  ['top', 'mid', 'bottom', 'left', 'right'].flatMap((line) =>
    ['', '-left', '-mid', '-right'].map((end) => [`${line}${end}`, '']),
  ),
);

/** Writes rows below a head in aligned columns, for people. */
export function printTable(head: readonly string[], rows: readonly (readonly (string | number | null)[])[]): void {
  const table = new Table({
    head: head.map((title) => colors.bold(title)),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    chars: { ...NO_LINES, middle: '  ' },
  });
  table.push(...rows.map((row) => row.map((cell) => (cell === null ? '' : String(cell)))));
  print(table.toString().replaceAll(/ +$/gm, ''));
}

/** Under a page for people: how to get the next one. */
export function sayMore({ nextCursor }: { nextCursor: string | null }): void {
  if (nextCursor !== null) say(`more with --cursor ${nextCursor}`);
}

export function mark(ok: boolean): string {
  return ok ? colors.green('✓') : colors.red('✗');
}

/** Writes a number with its word, such as `1 record` or `2 records`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`;
}

export interface ProgressBar {
  update(done: number, total?: number): void;
  stop(): void;
}

/** Shows a bar where standard error is a terminal. Elsewhere it prints one line at the end, so that logs stay readable. */
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
  let shown: { done: number; total: number } | null = null;
  return {
    update: (done, newTotal = shown?.total ?? total) => (shown = { done, total: newTotal }),
    stop: () => shown && say(`${label.padEnd(22)} ${shown.done}/${shown.total}`),
  };
}

/** Node decides from NO_COLOR, TERM and the terminal whether there are colours. */
function colorsOf(stream: NodeJS.WriteStream) {
  return picocolors.createColors(stream.isTTY ? stream.hasColors() : false);
}
