import { InvalidArgumentError, Option } from 'commander';
import { acknowledgeTable, measureAcknowledge } from './writing/acknowledge.ts';
import { chatWorkerTable, measureChatWorker } from './writing/chat-worker.ts';
import { flushTable, measureFlush } from './writing/flush.ts';
import { measureRecall, recallTable } from './reading/recall.ts';
import { measureSearch, searchTable } from './reading/search.ts';
import { runBench } from './program.ts';
import { type Measurement, measurement } from './run.ts';

interface Asked {
  scale: number;
  turns?: string;
}

const MEASUREMENTS: Record<string, (asked: Asked) => Measurement> = {
  acknowledge: ({ scale }) => measurement((stage) => measureAcknowledge(stage, scale), acknowledgeTable),
  chatWorker: ({ scale }) => measurement((stage) => measureChatWorker(stage, scale), chatWorkerTable),
  flush: ({ scale }) => measurement((stage) => measureFlush(stage, scale), flushTable),
  recall: ({ scale }) => measurement((stage) => measureRecall(stage, scale), recallTable),
  search: ({ scale, turns }) => measurement((stage) => measureSearch(stage, scale, turns), searchTable),
};
const factorOption = new Option(
  '--scale <factor>',
  'how much to measure: 0.1 for a quick look, 2 for steadier numbers',
);
const turnsOption = new Option(
  '--turns <file>',
  'what to search in: turns as `mnemoq import` takes them (default: those of the demo)',
);

await runBench({
  name: 'bench',
  description:
    'measure Mnemoq beside the bare parts it is made of, on embedded parts in a folder that is removed after',
  measurements: MEASUREMENTS,
  options: [factorOption.argParser(factor).default(1), turnsOption],
  note: 'Everything runs on this one machine and takes from each other: absolute numbers are noisy, ratios, taken within each round, less so.',
});

function factor(value: string): number {
  const number = Number(value);
  if (number > 0 && number <= 100) return number;
  throw new InvalidArgumentError('expected a number above 0, at most 100');
}
