import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Tree } from './tree.ts';
import { type JestReport, judge, type Verdict } from './verdict.ts';

const ENVIRONMENT = './test/mutants/environment.mjs';

/** Runs one test file of a tree, in a process group of its own that is gone afterwards however it went. */
export async function runJest(
  { dir, temporary }: Tree,
  { file, test }: { file: string; test?: string | undefined },
  limitMs: number,
  environment: Record<string, string>,
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
      '--forceExit',
      '--json',
      `--outputFile=${report}`,
      `--env=${ENVIRONMENT}`,
      file,
      ...only,
    ],
    { cwd: dir, env: { ...process.env, TMPDIR: temporary, ...environment }, stdio: 'ignore', detached: true },
  );
  const exited = once(child, 'exit').then(() => 'exited');
  const stopped = new AbortController();
  const late = sleep(limitMs, 'late', { signal: AbortSignal.any([stopped.signal, interrupted]) }).catch(
    () => 'interrupted',
  );
  const end = await Promise.race([exited, late]);
  stopped.abort();
  if (end === 'exited')
    return judge(existsSync(report) ? (JSON.parse(readFileSync(report, 'utf8')) as JestReport) : null);
  endGroup(child.pid);
  await exited;
  return end === 'late' ? { kind: 'hung' } : { kind: 'broken', reason: 'interrupted' };
}

/** The embedded parts are in groups of their own and stop by themselves when their parent is gone. */
function endGroup(pid: number | undefined): void {
  if (pid !== undefined) process.kill(-pid, 'SIGKILL');
}
