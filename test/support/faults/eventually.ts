/**
 * **test/support/faults/**: what breaks a connection or an answer on purpose, and how a test waits for a state.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** Between two looks: at once for what is nearly there, and seldom for what takes long, which needs the processor itself. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [2, 50];

/**
 * How long a test waits for a state it expects: long, because a wait ends as soon as the state is there, and only a test
 * that fails waits to the end. `MNEMOQ_TEST_PATIENCE=3` makes every limit three times as long, for a machine that is very
 * busy or very slow.
 */
const PATIENCE = Number(process.env['MNEMOQ_TEST_PATIENCE'] ?? 1);
if (!(PATIENCE > 0)) throw new Error('MNEMOQ_TEST_PATIENCE: expected a number above 0');

/** A limit for what takes at most this long on a machine with much else to do. */
export function patient(limitMs: number): number {
  return limitMs * PATIENCE;
}

/** Waits for a state, not for a time: resolves as soon as `check` gives something truthy, fails loudly when it never does. */
export async function eventually<T>(check: () => Promise<T> | T, withinMs = 60_000): Promise<T> {
  const limit = patient(withinMs);
  const deadline = Date.now() + limit;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(1.5 * pause, LONGEST_PAUSE_MS)) {
    const result = await check();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`it did not happen within ${limit} ms: ${check.toString()}`);
    await sleep(pause);
  }
}
