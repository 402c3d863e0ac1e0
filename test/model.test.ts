import { afterAll, beforeAll, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Bench } from './model/bench.ts';
import { FLUSHING } from './model/flushing.ts';
import { Model } from './model/model.ts';
import { READING } from './model/reading.ts';
import { SAVING } from './model/saving.ts';
import { describeFailure, readReplay } from './support/replay.ts';

/** As many as take about half a minute on two cores. */
const RUNS = 20;
/** Long enough that a short sequence after it has seen every kind of step, short enough to be shrunk. */
const MOST_STEPS = 40;
/** For a failing sequence to become a short one; it is reported as far as it got. */
const SHRINKING_MS = 8 * 60_000;

let bench: Bench;
beforeAll(async () => {
  bench = await Bench.start('embedded');
});
afterAll(() => bench.stop());

test(
  'whatever happens in whatever order, nothing is lost, nothing is there twice, nothing is out of order',
  async () => {
    const { parameters, replayPath } = readReplay(RUNS);
    const choices = [...SAVING, ...FLUSHING, ...READING].flatMap(([weight, step]) =>
      Array<typeof step>(weight).fill(step),
    );
    const commands = fc.commands(choices, { maxCommands: MOST_STEPS, size: 'max', ...(replayPath && { replayPath }) });
    const steps: number[] = [];
    const property = fc.asyncProperty(commands, async (sequence) => {
      const model = new Model();
      try {
        await fc.asyncModelRun(async () => ({ model, real: await bench.reset() }), sequence);
      } finally {
        steps.push(model.steps);
      }
    });
    const details = await fc.check(property, {
      ...parameters,
      unbiased: true, // else most sequences have a step or two
      interruptAfterTimeLimit: SHRINKING_MS,
    });
    const total = steps.reduce((sum, each) => sum + each, 0);
    process.stderr.write(`MODEL_SEED=${parameters.seed}: ${steps.length} runs, ${total} steps\n`);
    expect(details.failed ? describeFailure('test/model.test.ts', details) : '').toBe('');
  },
  2 * SHRINKING_MS,
);
