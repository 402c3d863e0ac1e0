import { setTimeout as sleep } from 'node:timers/promises';
import { MnemoqError } from '../../shared/errors.ts';

const POLL_MS = 50;
/** The jobs and records of a worker that was killed are free after a minute and a half at most. */
const LET_GO_MS = 120_000;

/** Waits until workers have let go of what they have in hand. Throws `timeout` with this message when they do not. */
export async function awaitLetGo(hasLetGo: () => Promise<boolean>, message: string): Promise<void> {
  const deadline = Date.now() + LET_GO_MS;
  while (!(await hasLetGo())) {
    if (Date.now() > deadline) throw new MnemoqError('timeout', message);
    await sleep(POLL_MS);
  }
}
