import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Form, limitOf } from './forms.ts';

const ROOT = path.join(import.meta.dirname, '../../..');
/** Between SIGTERM, on which a program ends what it has started in groups of their own, and SIGKILL. */
const GRACE_MS = 30_000;
/** A process that a form was just ending may need a moment to go. */
const LEFTOVER_MS = 2_000;
const POLL_MS = 100;
const TAIL_LINES = 60;

export interface FormOutcome {
  name: string;
  passed: boolean;
  /** In a word or two: `passed`, `failed with exit code 1`, `not through after 25 minutes`. */
  verdict: string;
  seconds: number;
  /** The form's whole output; null when it passed. */
  log: string | null;
}

/**
 * Runs a form in a process group of its own, with its output in a file. It passes when it ends by itself, in time, with exit
 * code 0, and leaves no process of its group behind.
 */
export async function runForm(form: Form, dir: string, interrupted: AbortSignal): Promise<FormOutcome> {
  const log = path.join(dir, `${form.name}.log`);
  const output = openSync(log, 'w');
  const start = performance.now();
  const child = spawn(process.execPath, commandOf(form), {
    cwd: ROOT,
    env: { ...process.env, ...form.environment },
    stdio: ['ignore', output, output],
    detached: true,
  });
  closeSync(output);
  const verdict = await verdictOf(child, form, interrupted);
  const passed = verdict === 'passed';
  if (passed) rmSync(log);
  return {
    name: form.name,
    passed,
    verdict,
    seconds: Math.round((performance.now() - start) / 1000),
    log: passed ? null : log,
  };
}

/** The last lines of a log, for where the file itself cannot be looked at. */
export function tailOf(log: string): string {
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}

/** What Node is to run. Test files outside `test/deep/` and `test/judges/` keep the configuration of `npm test`. */
function commandOf({ run }: Form): string[] {
  if ('program' in run) return [...run.program];
  const deep = run.tests.every((file) => /^test\/(deep|judges)\//.test(file));
  return [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    'node_modules/jest/bin/jest.js',
    ...(deep ? ['--config', 'test/deep/jest.config.mjs'] : []),
    ...(run.forcesExit ? ['--forceExit'] : []),
    '--runTestsByPath',
    ...run.tests,
  ];
}

async function verdictOf(child: ChildProcess, form: Form, interrupted: AbortSignal): Promise<string> {
  const ended = new AbortController();
  const exited = once(child, 'exit').then(([code, signal]) =>
    code === 0 ? 'passed' : `failed with ${signal ?? `exit code ${code}`}`,
  );
  const limit = limitOf(form);
  const late = sleep(limit * 60_000, `not through after ${limit} minutes`, {
    signal: AbortSignal.any([ended.signal, interrupted]),
  }).catch(() => 'interrupted');
  const verdict = await Promise.race([exited, late]);
  ended.abort();
  const { pid } = child;
  if (pid === undefined) return verdict;
  const left = hasEnded(child) ? await leftInGroup(pid) : [];
  if (left.length > 0 || !hasEnded(child)) await endGroup(pid, child);
  return left.length > 0 && verdict === 'passed' ? `passed, but left running: ${left.join(', ')}` : verdict;
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** The commands of the group's processes that are still there a moment after their form has ended. */
async function leftInGroup(group: number): Promise<string[]> {
  for (const deadline = Date.now() + LEFTOVER_MS; ; await sleep(POLL_MS)) {
    const left = runningIn(group);
    if (left.length === 0 || Date.now() > deadline) return left;
  }
}

/** Dead ones that nobody has collected yet do not count. Without `ps` nothing is seen. */
function runningIn(group: number): string[] {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pgid=,stat=,args='], { encoding: 'utf8' });
  const lines = (stdout ?? '').split('\n').map((line) => /^\s*(\d+)\s+(\S+)\s+(.*)$/.exec(line));
  return lines.flatMap((found) => {
    const [, pgid, state = '', command = ''] = found ?? [];
    return Number(pgid) === group && !state.startsWith('Z') ? [command] : [];
  });
}

/** Ends a form that is still at work, and whatever else is in its group. */
async function endGroup(group: number, child: ChildProcess): Promise<void> {
  signal(group, 'SIGTERM');
  const isOver = () => hasEnded(child) && runningIn(group).length === 0;
  for (const deadline = Date.now() + GRACE_MS; !isOver() && Date.now() < deadline;) await sleep(POLL_MS);
  signal(group, 'SIGKILL');
  if (!hasEnded(child)) await once(child, 'exit');
}

function signal(group: number, name: NodeJS.Signals): void {
  try {
    process.kill(-group, name);
  } catch {
    // nobody is left to hear it
  }
}
