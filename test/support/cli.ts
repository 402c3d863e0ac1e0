import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';

const MAIN = path.join(import.meta.dirname, '../../cli/main.ts');
/** Far more than any command needs on a busy machine; a hang fails its test by its signal instead of its time. */
const LIMIT_MS = 45_000;

export interface CliOptions {
  environment?: Record<string, string>;
  /** Away from the .env and .mnemoq of whoever runs the tests. */
  cwd?: string;
  /** What it reads from standard input; nothing without it. */
  input?: string | Buffer;
  /** Options of Node. */
  nodeOptions?: string[];
  main?: string;
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
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
  child.stdin?.on('error', () => undefined).end(input); // it may end before it has read everything
  const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  const ended = once(child, 'close').then(([code, signal]) => {
    clearTimeout(limit);
    return { code, signal, ...said } as Ended;
  });
  return { process: child, said, ended };
}

export async function runCli(args: readonly string[], options?: CliOptions): Promise<Ended> {
  return startCli(args, options).ended;
}
