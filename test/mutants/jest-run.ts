import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Tree } from './tree.ts';
import { whenGone } from '../../embedded/guard.ts';
import { type JestReport, judge, type Verdict } from './verdict.ts';

const ENVIRONMENT = './test/mutants/environment.mjs';

/** A test file that runs in a tree, or some tests of that file. */
export interface TestRun {
  file: string;
  test?: string | undefined;
  limitMs: number;
  environment: Record<string, string>;
  /**
   * Whether jest ends although something is still open. Code with a mistake in it need not close what it has opened. The code as
   * it is must close everything.
   */
  forceExit: boolean;
}

/** Runs the test in a process group of its own, which is gone afterwards, however the test has ended. */
export async function runJest(
  { dir, temporary }: Tree,
  { file, test, limitMs, environment, forceExit }: TestRun,
  interrupted: AbortSignal,
): Promise<Verdict> {
  const report = path.join(dir, 'jest-report.json');
  const only = test === undefined ? [] : ['--testNamePattern', test];
  const jest = path.join('node_modules', 'jest', 'bin', 'jest.js');
  const child = spawn(
    process.execPath,
    [
      '--experimental-vm-modules',
      jest,
      ...(forceExit ? ['--forceExit'] : []),
      '--json',
      `--outputFile=${report}`,
      `--env=${ENVIRONMENT}`,
      file,
      ...only,
    ],
    { cwd: dir, env: { ...process.env, TMPDIR: temporary, ...environment }, stdio: 'ignore', detached: true },
  );
  const exited = once(child, 'exit').then(() => 'exited');
  const { pid } = child;
  // This process is not in the group, so a signal that ends this process does not reach the group.
  const callOff = pid === undefined ? () => undefined : whenGone('kill -9 "-$1"', String(pid));
  child.once('exit', callOff);
  const stopped = new AbortController();
  const late = sleep(limitMs, 'late', { signal: AbortSignal.any([stopped.signal, interrupted]) }).catch(
    () => 'interrupted',
  );
  const end = await Promise.race([exited, late]);
  stopped.abort();
  if (end === 'exited')
    return judge(existsSync(report) ? (JSON.parse(readFileSync(report, 'utf8')) as JestReport) : null);
  endGroup(pid);
  await exited;
  return end === 'late' ? { kind: 'hung' } : { kind: 'broken', reason: 'interrupted' };
}

/** The embedded parts are in groups of their own and stop by themselves when their parent is gone. */
function endGroup(pid: number | undefined): void {
  if (pid !== undefined) process.kill(-pid, 'SIGKILL');
}
