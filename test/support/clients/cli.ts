import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { patient } from '../faults/eventually.ts';

const MAIN = path.join(import.meta.dirname, '../../../cli/main.ts');
/** Far more than a command needs on a busy machine; one that hangs is killed, which its signal then tells. */
const LIMIT_MS = patient(200_000);

export interface CliOptions {
  environment?: Record<string, string>;
  /** Away from the .env and .mnemoq of whoever runs the tests. */
  cwd?: string;
  /** What it reads from standard input; nothing without it. `null` leaves that to the test. */
  input?: string | Buffer | null;
  /** Options of Node. */
  nodeOptions?: string[];
  main?: string;
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null; // SIGKILL when it hung
  stdout: string;
  stderr: string;
}

export interface RunningCli {
  process: ChildProcess;
  /** What it has said so far. */
  said: { stdout: string; stderr: string };
  ended: Promise<Ended>;
}

/** Starts `mnemoq <args>` with this environment and nothing of the tests' own but PATH. */
export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  const { environment = {}, cwd = tmpdir(), input, nodeOptions = [], main = MAIN } = options;
  const child = spawn(process.execPath, [...nodeOptions, main, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], HOME: cwd, ...environment },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  child.stdin?.on('error', () => undefined); // it may end before it has read everything
  if (input !== null) child.stdin?.end(input);
  const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  const ended = once(child, 'close').then(([code, signal]): Ended => {
    clearTimeout(limit);
    return { code, signal, ...said };
  });
  return { process: child, said, ended };
}

export async function runCli(args: readonly string[], options?: CliOptions): Promise<Ended> {
  return startCli(args, options).ended;
}
