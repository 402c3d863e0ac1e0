import { InvalidArgumentError, Option } from 'commander';
import { longConversationTable, measureLongConversation } from './reading/long-conversation.ts';
import { measurePending, pendingTable } from './writing/pending.ts';
import { runBench } from './program.ts';
import { type Measurement, measurement } from './run.ts';
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
await runBench({
  name: 'bench:limits',
  description:
    'measure whether time and memory stay flat with very much pending, very long conversations and very many records',
  measurements: MEASUREMENTS,
  options: [
    sizeOption('pending', 'pending records; a million needs 3 GB for Redis and 10 GB of disk', 1_000_000),
    sizeOption('turns', 'turns of the long conversation', 100_000),
    sizeOption('records', 'records whose trends are computed; a million need 3 GB of disk', 1_000_000),
  ],
  note: 'Everything runs on this one machine and takes from each other: ratios are taken within one run, flat means near 1.',
});

function sizeOption(name: keyof Sizes, description: string, fallback: number): Option {
  return new Option(`--${name} <count>`, description).argParser(size).default(fallback);
}

function size(value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1_000 && number <= 10_000_000) return number;
  throw new InvalidArgumentError('expected a whole number from 1000 to 10000000');
}
