import { progressBar } from '../../cli/terminal/output.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import type { MemoryRow } from '../../shared/records/records.ts';
import { type ResultTable, times } from '../report.ts';
import { drained, type Place, type Stage } from '../stage.ts';
import { type Latency, latencyRound, medians } from '../statistics.ts';
import { type BenchTurn, generateTurns, take, toBenchRow } from '../turns.ts';

const ROUNDS = 3;
/** The number of saves in a round, by the number of saves at once. */
const MODES = [
  { inFlight: 1, count: 300 },
  { inFlight: 50, count: 1_000 },
] as const;

interface InsertResult extends Latency {
  supabase: Place['name'];
  /** The median of the insert divided by the median of saveChat in the same round. */
  ratio: number;
}

export interface AcknowledgeResult {
  rounds: number;
  modes: { inFlight: number; count: number; saveChat: Latency; inserts: InsertResult[] }[];
}

/**
 * Measures how long a caller waits for `saveChat`, and beside it an insert of one row for the same turn with supabase-js alone. A
 * chat worker empties the queue at the same time, as in production. The rest of the queue is worked off before the inserts
 * begin.
 */
export async function measureAcknowledge(stage: Stage, scale: number): Promise<AcknowledgeResult> {
  const environment = stage.newEnvironment(stage.places[0]);
  const config = loadConfig(environment, []);
  const memory = stage.memory(environment);
  const queue = stage.queue('chat', environment);
  await stage.startWorkers(environment, 'chat');
  const generator = generateTurns(['bench-ack-0', 'bench-ack-1', 'bench-ack-2', 'bench-ack-3']);

  const save = async (turns: readonly BenchTurn[], inFlight: number) => {
    const round = await latencyRound(turns.length, inFlight, (i) => memory.saveChat(turns[i] as BenchTurn));
    await drained(queue);
    return round;
  };
  const insert = async ({ client }: Place, turns: readonly BenchTurn[], inFlight: number) => {
    const rows = turns.map((turn) => toBenchRow(turn, config));
    return latencyRound(rows.length, inFlight, async (i) => {
      const { error } = await client.from(config.memoriesTable).insert(rows[i] as MemoryRow);
      if (error) throw new Error(`an insert failed: ${error.message}`);
    });
  };

  const measured = MODES.map(({ inFlight, count }) => ({
    inFlight,
    count: Math.ceil(count * scale),
    saves: [] as Latency[],
    inserts: stage.places.map((place) => ({ place, rounds: [] as Latency[] })),
  }));
  const warmUp = take(200, generator);
  await save(warmUp, 50);
  for (const place of stage.places) await insert(place, warmUp, 50);
  const bar = progressBar('acknowledge, rounds', ROUNDS);
  for (let round = 1; round <= ROUNDS; round++) {
    for (const { inFlight, count, saves, inserts } of measured) {
      const turns = take(count, generator);
      saves.push(await save(turns, inFlight));
      for (const { place, rounds } of inserts) rounds.push(await insert(place, turns, inFlight));
    }
    bar.update(round);
  }
  bar.stop();
  return {
    rounds: ROUNDS,
    modes: measured.map(({ inFlight, count, saves, inserts }) => {
      const compared = inserts.map(({ place, rounds }) => {
        const withRatio = rounds.map((each, i) => ({ ...each, ratio: each.medianMs / (saves[i]?.medianMs ?? 0) }));
        return { supabase: place.name, ...medians(withRatio) };
      });
      return { inFlight, count, saveChat: medians(saves), inserts: compared };
    }),
  };
}

/** Writes the result for people. */
export function acknowledgeTable({ rounds, modes }: AcknowledgeResult): ResultTable {
  return {
    title: 'Acknowledging one turn',
    head: ['as long as saveChat', 'call', 'in flight', 'median ms', 'p99 ms', 'per second'],
    rows: modes.flatMap(({ inFlight, saveChat, inserts }) => [
      [times(1), 'saveChat', inFlight, saveChat.medianMs, saveChat.p99Ms, saveChat.perSecond],
      ...inserts.map(({ supabase, ratio, medianMs, p99Ms, perSecond }) => [
        times(ratio),
        `insert of one row, ${supabase}`,
        inFlight,
        medianMs,
        p99Ms,
        perSecond,
      ]),
    ]),
    note: `${modes.map(({ count, inFlight }) => `${count} at ${inFlight} in flight`).join(', ')}; medians of ${rounds} rounds. Redis with AOF everysec; the insert commits, saveChat queues.`,
  };
}
