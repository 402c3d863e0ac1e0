import { Command, InvalidArgumentError, Option } from 'commander';
import { report } from '../cli/terminal/exit.ts';
import { acknowledgeTable, measureAcknowledge } from './writing/acknowledge.ts';
import { chatWorkerTable, measureChatWorker } from './writing/chat-worker.ts';
import { flushTable, measureFlush } from './writing/flush.ts';
import { measureRecall, recallTable } from './reading/recall.ts';
import { measureSearch, searchTable } from './reading/search.ts';
import { type Measurement, measurement, runMeasurements } from './run.ts';

const MEASUREMENTS: Record<string, (scale: number, turns?: string) => Measurement> = {
  acknowledge: (scale) => measurement((stage) => measureAcknowledge(stage, scale), acknowledgeTable),
  chatWorker: (scale) => measurement((stage) => measureChatWorker(stage, scale), chatWorkerTable),
  flush: (scale) => measurement((stage) => measureFlush(stage, scale), flushTable),
  recall: (scale) => measurement((stage) => measureRecall(stage, scale), recallTable),
  search: (scale, turns) => measurement((stage) => measureSearch(stage, scale, turns), searchTable),
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
  .option('--turns <file>', 'what to search in: turns as `mnemoq import` takes them (default: those of the demo)')
  .action(async ({ json, only, scale, turns }: { json?: true; only?: string[]; scale: number; turns?: string }) => {
    const chosen = Object.entries(MEASUREMENTS).filter(([name]) => only?.includes(name) ?? true);
    const measurements = Object.fromEntries(chosen.map(([name, make]) => [name, make(scale, turns)]));
    await runMeasurements(measurements, { json, asked: { scale }, note: NOTE });
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function factor(value: string): number {
  const number = Number(value);
  if (number > 0 && number <= 100) return number;
  throw new InvalidArgumentError('expected a number above 0, at most 100');
}
