/**
 * **test/mutants/list/**: the known mistakes, in a file for each subject.
 */
/** One mistake somebody could make in the code, and the test that must see it. */
export interface Mutant {
  name: string;
  /** What would no longer be true. */
  breaks: string;
  file: string;
  /** Stands in the file exactly once. */
  text: string;
  instead: string;
  /** The test file that turns red, and which of its tests when it has many. */
  caughtBy: string;
  test?: string;
  /** It shows by waiting for ever, not by a wrong answer. */
  hangs?: true;
}

/** The model test, on PostgREST alone, where it is faster. */
export const MODEL = { caughtBy: 'test/model/model.test.ts', test: 'postgrest' };
