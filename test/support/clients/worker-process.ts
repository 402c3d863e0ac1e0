/**
 * **test/support/clients/**: clients and programs that tests use Mnemoq with: commands, workers, browsers, tokens of users, a
 * collector of traces.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { WorkerKind } from '../../../workers/kinds.ts';

const PROGRAM = path.join(import.meta.dirname, '../../../cli/main.ts');

/** A worker as a real process, up and running; killed by the test or with it. */
export async function startWorkerProcess(kind: WorkerKind, environment: Record<string, string>): Promise<ChildProcess> {
  const child = fork(PROGRAM, ['worker', kind], {
    env: { ...process.env, ...environment },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`the ${kind} worker ended with code ${code} before it was up`);
  });
  await Promise.race([once(child, 'message'), failed]);
  failed.catch(() => undefined);
  return child;
}

export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
