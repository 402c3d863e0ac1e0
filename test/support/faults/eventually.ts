import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 20;

/** Waits for a state, not for a time: resolves as soon as `check` gives something truthy, fails loudly when it never does. */
export async function eventually<T>(check: () => Promise<T> | T, withinMs = 30_000): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`it did not happen within ${withinMs} ms: ${check.toString()}`);
    await sleep(POLL_MS);
  }
}
