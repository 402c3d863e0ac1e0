import { availableParallelism, cpus, loadavg } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { EXIT, report } from '../cli/exit.ts';
import { print, printJson, say } from '../cli/output.ts';
import { untilSignal } from '../cli/until-signal.ts';
import { acknowledgeTable, measureAcknowledge } from './acknowledge.ts';
import { chatWorkerTable, measureChatWorker } from './chat-worker.ts';
import { flushTable, measureFlush } from './flush.ts';
import { measureRecall, recallTable } from './recall.ts';
import { printResult, type ResultTable } from './report.ts';
import { Stage } from './stage.ts';

interface Measured {
  result: object;
  table: ResultTable;
}

const MEASUREMENTS: Record<string, (stage: Stage, scale: number) => Promise<Measured>> = {
  acknowledge: measurement(measureAcknowledge, acknowledgeTable),
  chatWorker: measurement(measureChatWorker, chatWorkerTable),
  flush: measurement(measureFlush, flushTable),
  recall: measurement(measureRecall, recallTable),
};
const NOTE =
  'Everything runs on this one machine and takes from each other: absolute numbers are noisy, ratios, taken within each round, less so.';

const program = new Command('bench')
  .description(
    'measure Mnemoq beside the bare parts it is made of, on embedded parts in a folder that is removed after',
  )
  .option('--json', 'print all numbers as one JSON object')
  .addOption(new Option('--only <name...>', 'measure only these').choices(Object.keys(MEASUREMENTS)))
  .option('--scale <factor>', 'how much to measure: 0.1 for a quick look, 2 for steadier numbers', factor, 1)
  .action(async ({ json, only, scale }: { json?: true; only?: string[]; scale: number }) => {
    const interrupted = untilSignal().then(() => null);
    const [loadBefore = 0] = loadavg();
    say('starting Redis, Supabase and IPFS …');
    const stage = await Stage.start();
    const measuring = measureAll(stage, only ?? Object.keys(MEASUREMENTS), scale);
    let measured: Awaited<typeof measuring> | null = null;
    try {
      measured = await Promise.race([measuring, interrupted]);
    } finally {
      await stage.stop();
    }
    // What was interrupted still waits for parts that are gone.
    if (measured === null) process.exit(EXIT.failed);
    const machine = { ...describeMachine(stage), loadBefore };
    if (json) {
      const results = Object.fromEntries(measured.map(([name, { result }]) => [name, result]));
      printJson({ machine, scale, note: NOTE, ...results });
    } else {
      const { cores, processor, node, redis } = machine;
      print(`${cores} cores (${processor}), load ${loadBefore} before, Node ${node}, Redis ${redis}`);
      print(NOTE);
      for (const [, { table }] of measured) printResult(table);
    }
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function measurement<R extends object>(
  measure: (stage: Stage, scale: number) => Promise<R>,
  toTable: (result: R) => ResultTable,
) {
  return async (stage: Stage, scale: number): Promise<Measured> => {
    const result = await measure(stage, scale);
    return { result, table: toTable(result) };
  };
}

async function measureAll(stage: Stage, names: readonly string[], scale: number): Promise<[string, Measured][]> {
  const measured: [string, Measured][] = [];
  for (const [name, measure] of Object.entries(MEASUREMENTS)) {
    if (!names.includes(name)) continue;
    measured.push([name, await measure(stage, scale)]);
    await stage.release();
  }
  return measured;
}

function describeMachine({ redisVersion: redis }: Stage) {
  return { cores: availableParallelism(), processor: cpus()[0]?.model ?? 'unknown', node: process.version, redis };
}

function factor(value: string): number {
  const number = Number(value);
  if (number > 0 && number <= 100) return number;
  throw new InvalidArgumentError('expected a number above 0, at most 100');
}
