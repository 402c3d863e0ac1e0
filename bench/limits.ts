import { Command, InvalidArgumentError, Option } from 'commander';
import { report } from '../cli/terminal/exit.ts';
import { longConversationTable, measureLongConversation } from './reading/long-conversation.ts';
import { measurePending, pendingTable } from './writing/pending.ts';
import { type Measurement, measurement, runMeasurements } from './run.ts';
import { measureTrends, trendsTable } from './reading/trends.ts';

interface Sizes {
  pending: number;
  turns: number;
  records: number;
}

const MEASUREMENTS: Record<string, (sizes: Sizes) => Measurement> = {
  longConversation: ({ turns }) => measurement((stage) => measureLongConversation(stage, turns), longConversationTable),
  pending: ({ pending, turns }) => measurement((stage) => measurePending(stage, pending, turns), pendingTable),
  trends: ({ records }) => measurement((stage) => measureTrends(stage, records), trendsTable),
};
const NOTE =
  'Everything runs on this one machine and takes from each other: ratios are taken within one run, flat means near 1.';

const program = new Command('bench:limits')
  .description(
    'measure whether time and memory stay flat with very much pending, very long conversations and very many records',
  )
  .option('--json', 'print all numbers as one JSON object')
  .addOption(new Option('--only <name...>', 'measure only these').choices(Object.keys(MEASUREMENTS)))
  .option('--pending <count>', 'pending records; a million needs 3 GB for Redis and 10 GB of disk', size, 1_000_000)
  .option('--turns <count>', 'turns of the long conversation', size, 100_000)
  .option('--records <count>', 'records whose trends are computed; a million need 3 GB of disk', size, 1_000_000)
  .action(async ({ json, only, ...sizes }: Sizes & { json?: true; only?: string[] }) => {
    const chosen = Object.entries(MEASUREMENTS).filter(([name]) => only?.includes(name) ?? true);
    const measurements = Object.fromEntries(chosen.map(([name, make]) => [name, make(sizes)]));
    await runMeasurements(measurements, { json, asked: sizes, note: NOTE });
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function size(value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1_000 && number <= 10_000_000) return number;
  throw new InvalidArgumentError('expected a whole number from 1000 to 10000000');
}
