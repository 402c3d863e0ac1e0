/** The first wait. */
const BASE_MS = 1_000;
/** The longest wait: long enough not to hammer a service that is down, short enough to notice soon that it is back. */
const CAP_MS = 60_000;

/**
 * How long to wait before attempt `attempt + 1`. The wait doubles each time up to a cap, and has jitter so that many workers do
 * not return at once.
 *
 * | attempt | 1 | 2 | 3 | 4 | 5 | 6 | 7 and on |
 * |---|---|---|---|---|---|---|---|
 * | wait (s) | 0.5–1 | 1–2 | 2–4 | 4–8 | 8–16 | 16–32 | 30–60 |
 */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  const full = Math.min(CAP_MS, BASE_MS * 2 ** Math.max(0, attempt - 1));
  return Math.round(full * (0.5 + random() / 2));
}
