import { progressBar } from '../../cli/terminal/output.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import type { MemoryRow } from '../../shared/records/records.ts';
import { type ResultTable, times } from '../report.ts';
import { cache } from './saving.ts';
import type { Place, Stage } from '../stage.ts';
import { latencies, medians, timed } from '../statistics.ts';
import { generateTurns, take, toBenchRow } from '../turns.ts';

const RECORDS = 5_000;
const WARM_UP_RECORDS = 1_000;
const ROUNDS = 5;
const CONVERSATIONS = 100;
/** The number of batches that a flush sends at once. */
const LANES = 2;

interface FlushRates {
  supabase: Place['name'];
  flush: { perSecond: number };
  upserts: { perSecond: number };
  upsertsTwoInFlight: { perSecond: number };
  /** The rate of the flush divided by the rate of plain upserts, one batch after the other. */
  ratio: number;
  /** The rate of the flush divided by the rate of plain upserts with two batches at once, as a flush has them. */
  ratioTwoInFlight: number;
}

export interface FlushBenchResult {
  records: number;
  batchSize: number;
  rounds: number;
  rates: FlushRates[];
}

/**
 * Measures how many rows per second a flush commits, from the call of `flushRedisToSupabase` to its answer, and beside it upserts
 * with supabase-js alone, of rows with the same texts in batches of the same size.
 */
export async function measureFlush(stage: Stage, scale: number): Promise<FlushBenchResult> {
  const records = Math.ceil(RECORDS * scale);
  const { flushBatchSize: batchSize } = loadConfig({}, []);
  const bar = progressBar('flush, rounds', ROUNDS * stage.places.length);
  let done = 0;
  const rates: FlushRates[] = [];
  for (const place of stage.places) {
    rates.push(await measureOn(place, stage, records, batchSize, () => bar.update(++done)));
    await stage.release();
  }
  bar.stop();
  return { records, batchSize, rounds: ROUNDS, rates };
}

async function measureOn(
  place: Place,
  stage: Stage,
  records: number,
  batchSize: number,
  onRound: () => void,
): Promise<FlushRates> {
  const environment = stage.newEnvironment(place);
  const config = loadConfig(environment, []);
  const memory = stage.memory(environment);
  const queue = stage.queue('chat', environment);
  await stage.startWorkers(environment, 'chat', 'flush');
  const generator = generateTurns(Array.from({ length: CONVERSATIONS }, (_, i) => `bench-flush-${i}`));

  const round = async (count: number) => {
    const turns = take(count, generator);
    const rowsOf = () => turns.map((turn) => toBenchRow(turn, config));
    await cache(memory, queue, turns);
    const flushMs = await timed(() => flush(memory, count));
    const upsertsMs = await upsert(place, rowsOf(), batchSize, 1);
    const upsertsTwoInFlightMs = await upsert(place, rowsOf(), batchSize, LANES);
    const rate = (ms: number) => (1000 * count) / ms;
    return {
      flush: rate(flushMs),
      upserts: rate(upsertsMs),
      upsertsTwoInFlight: rate(upsertsTwoInFlightMs),
      ratio: upsertsMs / flushMs,
      ratioTwoInFlight: upsertsTwoInFlightMs / flushMs,
    };
  };
  await round(WARM_UP_RECORDS);
  const rounds: Awaited<ReturnType<typeof round>>[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    rounds.push(await round(records));
    onRound();
  }
  const { flush: flushRate, upserts, upsertsTwoInFlight, ...ratios } = medians(rounds);
  return {
    supabase: place.name,
    flush: { perSecond: flushRate },
    upserts: { perSecond: upserts },
    upsertsTwoInFlight: { perSecond: upsertsTwoInFlight },
    ...ratios,
  };
}

async function flush(memory: MemoryCore, expected: number): Promise<void> {
  const { flushedCount, reason } = await memory.flushRedisToSupabase();
  if (flushedCount !== expected) throw new Error(`the flush moved ${flushedCount} of ${expected} records: ${reason}`);
}

/** Gives the time that it takes, in ms. */
async function upsert({ client }: Place, rows: MemoryRow[], batchSize: number, inFlight: number): Promise<number> {
  const batches = Math.ceil(rows.length / batchSize);
  return timed(() =>
    latencies(batches, inFlight, async (i) => {
      const batch = rows.slice(i * batchSize, (i + 1) * batchSize);
      const { error } = await client.from('memories').upsert(batch, { onConflict: 'id', ignoreDuplicates: true });
      if (error) throw new Error(`an upsert failed: ${error.message}`);
    }),
  );
}

/** Writes the result for people. */
export function flushTable({ records, batchSize, rounds, rates }: FlushBenchResult): ResultTable {
  return {
    title: 'Into Supabase',
    head: [
      'of bare upserts',
      'of bare, 2 in flight',
      'Supabase',
      'flush, rows/s',
      'bare, rows/s',
      'bare, 2 in flight, rows/s',
    ],
    rows: rates.map(({ supabase, ratio, ratioTwoInFlight, flush, upserts, upsertsTwoInFlight }) => [
      times(ratio),
      times(ratioTwoInFlight),
      supabase,
      flush.perSecond,
      upserts.perSecond,
      upsertsTwoInFlight.perSecond,
    ]),
    note: `${records} records in batches of ${batchSize}, medians of ${rounds} rounds.`,
  };
}
