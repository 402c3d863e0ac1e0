/**
 * **bench/**: measurements on real parts; `npm run bench` and `npm run bench:limits` run them. Nothing here is asserted.
 */
import { availableParallelism, cpus, loadavg } from 'node:os';
import { EXIT } from '../cli/terminal/exit.ts';
import { print, printJson, say } from '../cli/terminal/output.ts';
import { untilSignal } from '../cli/process/until-signal.ts';
import { printResult, type ResultTable } from './report.ts';
import { Stage } from './stage.ts';

interface Measured {
  result: object;
  table: ResultTable;
}

export type Measurement = (stage: Stage) => Promise<Measured>;

interface RunOptions {
  /** True when all numbers are printed as one JSON object. */
  json: boolean | undefined;
  /** The options of this run, which are printed with the numbers. */
  asked: object;
  note: string;
}

/** A measurement, and how its result is written for people. */
export function measurement<R extends object>(
  measure: (stage: Stage) => Promise<R>,
  toTable: (result: R) => ResultTable,
): Measurement {
  return async (stage) => {
    const result = await measure(stage);
    return { result, table: toTable(result) };
  };
}

/** Starts all parts, measures one thing after the other, stops the parts whatever happens, and prints the results. */
export async function runMeasurements(
  measurements: Record<string, Measurement>,
  { json, asked, note }: RunOptions,
): Promise<void> {
  const interrupted = untilSignal().then(() => null);
  const [loadBefore = 0] = loadavg();
  say('starting Redis, Supabase and IPFS …');
  const stage = await Stage.start();
  const measuring = measureAll(stage, measurements);
  let measured: Awaited<typeof measuring> | null = null;
  try {
    measured = await Promise.race([measuring, interrupted]);
  } finally {
    await stage.stop();
  }
  // An interrupted measurement still waits for parts that are gone.
  if (measured === null) process.exit(EXIT.failed);
  const machine = { ...describeMachine(stage), loadBefore };
  if (json) {
    const results = Object.fromEntries(measured.map(([name, { result }]) => [name, result]));
    printJson({ machine, ...asked, note, ...results });
  } else {
    const { cores, processor, node, redis } = machine;
    print(`${cores} cores (${processor}), load ${loadBefore} before, Node ${node}, Redis ${redis}`);
    print(note);
    for (const [, { table }] of measured) printResult(table);
  }
}

async function measureAll(stage: Stage, measurements: Record<string, Measurement>): Promise<[string, Measured][]> {
  const measured: [string, Measured][] = [];
  for (const [name, measure] of Object.entries(measurements)) {
    measured.push([name, await measure(stage)]);
    await stage.release();
  }
  return measured;
}

function describeMachine({ redisVersion: redis }: Stage) {
  return { cores: availableParallelism(), processor: cpus()[0]?.model ?? 'unknown', node: process.version, redis };
}
