import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

const JUDGES = path.join(import.meta.dirname, '..');
/** A program that has been asked to end and does not. */
const GRACE_MS = 10_000;

export interface Ended {
  /** Null when it was ended because its time was over. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd?: string;
  environment?: Record<string, string>;
  limitMs?: number;
}

export interface Running {
  pid: number;
  /** What it has written so far, both streams together. */
  said(): string;
  stop(): Promise<void>;
}

/** A program that one of the judges' npm packages brings. */
export function npmProgram(name: string, folder = ''): string {
  return path.join(JUDGES, folder, 'node_modules/.bin', name);
}

/** A file of one of the judges' npm packages. */
export function npmFile(file: string): string {
  return path.join(JUDGES, 'node_modules', file);
}

/** Runs a program to its end, without blocking this process, in which the judged servers run. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = launch(command, args, options);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const late = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? 120_000);
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(late);
  return { code, stdout: stdout(), stderr: stderr() };
}

/** Starts a program that goes on until it is stopped. Whoever starts it waits until it answers. */
export async function start(command: string, args: readonly string[], options: RunOptions = {}): Promise<Running> {
  const child = launch(command, args, options);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  await once(child, 'spawn');
  const said = () => stdout() + stderr();
  return { pid: child.pid ?? 0, said, stop: async () => stop(child) };
}

/** Without the settings of this shell: a judge's verdict may not depend on what somebody has exported. */
function launch(command: string, args: readonly string[], { cwd = '/', environment = {} }: RunOptions) {
  const path = `${process.execPath.slice(0, process.execPath.lastIndexOf('/'))}:${process.env['PATH']}`;
  const env = { PATH: path, HOME: process.env['HOME'], NO_COLOR: '1', CI: 'true', ...environment };
  return spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  return () => text;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  await ended;
  clearTimeout(late);
}
