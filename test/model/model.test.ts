/**
 * **test/model/**: random sequences of steps on real parts, compared after each step with a plain model in memory.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Bench } from './bench.ts';
import { FLUSHING } from './flushing.ts';
import { Model } from './model.ts';
import { READING } from './reading.ts';
import { SAVING } from './saving.ts';
import { describeFailure, readReplay } from '../support/inputs/replay.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';

/** A run of about this many steps can still be shrunk to a few. Most of the chosen steps are not possible and are left out. */
const MOST_STEPS = 60;
/** How long a failing sequence is made shorter. Then it is reported as it is. */
const SHRINKING_MS = 8 * 60_000;

const STEPS = [...SAVING, ...FLUSHING, ...READING].flatMap(([weight, step]) => Array<typeof step>(weight).fill(step));

/** PostgREST takes a step in a fifth of the time that the embedded Supabase takes. */
const RUNS = { postgrest: 25, embedded: 5 };

describe.each([[CHOSEN_SUPABASE, RUNS[CHOSEN_SUPABASE]]] as const)(
  'whatever happens, on the %s Supabase',
  (supabase, runs) => {
    let bench: Bench;
    beforeAll(async () => {
      bench = await Bench.start(supabase);
    });
    afterAll(() => bench.stop());

    test(
      'nothing is lost, nothing is there twice, nothing is out of order',
      async () => {
        const { parameters, replayPath } = readReplay(runs);
        const size = { maxCommands: MOST_STEPS, size: 'max' } as const;
        const commands = fc.commands(STEPS, { ...size, ...(replayPath !== undefined && { replayPath }) });
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
        process.stderr.write(`${supabase}: MODEL_SEED=${parameters.seed}, ${steps.length} runs, ${total} steps\n`);
        const failure = details.failed
          ? describeFailure(`test/model/model.test.ts -t ${supabase}`, details)
          : 'nothing';
        expect(failure).toBe('nothing');
      },
      2 * SHRINKING_MS,
    );
  },
);
