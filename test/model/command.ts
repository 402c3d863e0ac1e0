import type { Arbitrary, AsyncCommand } from 'fast-check';
import type { Bench } from './bench.ts';
import { compare } from './compare.ts';
import type { Model, ModelRecord } from './model.ts';

export type ModelCommand = AsyncCommand<Model, Bench>;

/** Makes a command of a step of the model and the same step of the real parts. After it everything is compared. */
export function command<P>(
  name: string,
  choices: Arbitrary<P>,
  possible: (model: Readonly<Model>, choice: P) => boolean,
  act: (model: Model, bench: Bench, choice: P) => Promise<void>,
): Arbitrary<ModelCommand> {
  return choices.map((choice) => ({
    check: (model) => possible(model, choice),
    async run(model, bench) {
      await act(model, bench, choice);
      await compare(model, bench);
    },
    toString: () => `${name}(${JSON.stringify(choice)})`,
  }));
}

export const always = (): boolean => true;

/** Picks one of the records by a number. Any number will do for any list. */
export function pick(records: readonly ModelRecord[], number: number): ModelRecord {
  const chosen = records[number % records.length];
  if (!chosen) throw new Error('there is nothing to choose from');
  return chosen;
}
