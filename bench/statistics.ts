import { performance } from 'node:perf_hooks';

/** The time that one call takes, and the number of calls that end in a second. */
export type Latency = {
  medianMs: number;
  p99Ms: number;
  perSecond: number;
};

/** Gives the value that a `part` (0 to 1) of all values does not exceed, by nearest rank. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
}

/** Gives the value in the middle, which a few slow or fast runs do not change. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Rounds to four significant digits. More digits would claim an accuracy that a shared machine does not have. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

/** Gives the time that `work` takes, in ms. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Gives the time that each of `count` runs takes, in ms, with at most `inFlight` runs at once. */
export async function latencies(
  count: number,
  inFlight: number,
  run: (index: number) => Promise<unknown>,
): Promise<number[]> {
  const measured: number[] = [];
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < count; index = next++) measured.push(await timed(() => run(index)));
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return measured;
}

/** Measures one round: the latencies and the throughput of `count` runs, `inFlight` at once. */
export async function latencyRound(
  count: number,
  inFlight: number,
  run: (index: number) => Promise<unknown>,
): Promise<Latency> {
  let measured: number[] = [];
  const tookMs = await timed(async () => (measured = await latencies(count, inFlight, run)));
  return { medianMs: median(measured), p99Ms: quantile(measured, 0.99), perSecond: (1000 * count) / tookMs };
}

/** Gives the median of each number over all rounds. A ratio is taken within each round, so it holds when a machine gets busier. */
export function medians<K extends string>(rounds: readonly Record<K, number>[]): Record<K, number> {
  const names = Object.keys(rounds[0] ?? {}) as K[];
  const entries = names.map((name) => [name, rounded(median(rounds.map((round) => round[name])))]);
  return Object.fromEntries(entries);
}
