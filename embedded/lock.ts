import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MnemoqError } from '../shared/errors.ts';

const POLL_MS = 50;
const held = new Set<string>();

/**
 * Takes a lock file, so that only one process uses the files beside it: two processes of Redis or PGlite would destroy files that
 * they share. A lock whose process has ended is taken over. While a process that is about to end holds it, this waits. Returns
 * the function that releases the lock.
 */
export async function takeLock(file: string, waitMs = 0): Promise<() => void> {
  mkdirSync(path.dirname(file), { recursive: true });
  for (const deadline = Date.now() + waitMs; !tryToTake(file); await sleep(POLL_MS)) {
    if (Date.now() < deadline) continue;
    throw new MnemoqError(
      'invalid_configuration',
      `the data folder ${path.dirname(file)} is in use by process ${holderOf(file)}: stop it, or set MNEMOQ_DATA_DIR ` +
        `to another folder (if that process is not Mnemoq, delete ${file})`,
    );
  }
  held.add(file);
  return () => {
    held.delete(file);
    rmSync(file, { force: true });
  };
}

function tryToTake(file: string): boolean {
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const holder = holderOf(file);
  // In a container every start has the same process id, so a lock with our own id was left by an earlier start.
  const stale = holder === process.pid ? !held.has(file) : !isRunning(holder);
  if (stale) writeFileSync(file, String(process.pid));
  return stale;
}

function holderOf(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return 0; // it was released at this moment
  }
}

function isRunning(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
