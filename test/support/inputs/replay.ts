import { type AsyncCommand, type Parameters, type RunDetails, stringify } from 'fast-check';

/** How a random test runs, and how it runs again: MODEL_SEED, MODEL_PATH and MODEL_REPLAY come from a failure's report. */
export interface Replay {
  parameters: Pick<Parameters<unknown>, 'seed' | 'numRuns' | 'path' | 'endOnFailure'> & { seed: number };
  /** Which of the commands of a run were possible, as fast-check writes it. */
  replayPath: string | undefined;
}

export function readReplay(runs: number): Replay {
  const { MODEL_SEED, MODEL_PATH, MODEL_REPLAY, MODEL_RUNS, MODEL_SHRINK } = process.env;
  return {
    parameters: {
      seed: MODEL_SEED ? Number(MODEL_SEED) : Math.trunc(Math.random() * 2 ** 31),
      numRuns: Number(MODEL_RUNS || runs),
      // The first failure as it came: for who only wants to know whether there is one.
      endOnFailure: MODEL_SHRINK === 'no',
      ...(MODEL_PATH && { path: MODEL_PATH }),
    },
    replayPath: MODEL_REPLAY || undefined,
  };
}

type Commands<M extends object, R> = Iterable<AsyncCommand<M, R>>;

/** The shortest sequence that fails, why, and the command that runs it again. */
export function describeFailure<M extends object, R>(file: string, details: RunDetails<[Commands<M, R>]>): string {
  const { seed, counterexample, counterexamplePath, numShrinks, errorInstance, interrupted } = details;
  const text = stringify(counterexample);
  const replayPath = /replayPath="([^"]*)"/.exec(text)?.[1];
  const variables = [
    `MODEL_SEED=${seed}`,
    `MODEL_PATH=${counterexamplePath ?? ''}`,
    ...(replayPath === undefined ? [] : [`MODEL_REPLAY=${replayPath}`]),
  ];
  return [
    `fails after ${numShrinks} shrinks${interrupted ? ', shrinking was cut short' : ''}:`,
    text.replace(/\s*\/\*replayPath=.*\*\//, '').replaceAll('),', '),\n  '),
    '',
    errorInstance instanceof Error ? (errorInstance.stack ?? errorInstance.message) : String(errorInstance),
    '',
    `replay: ${variables.join(' ')} npm test -- ${file}`,
  ].join('\n');
}
