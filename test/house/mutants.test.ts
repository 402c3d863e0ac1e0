import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { MUTANTS } from '../mutants/mutants.ts';

const ROOT = path.join(import.meta.dirname, '../..');

test('no two mutants have one name', () => {
  expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
});

/** A list that does not fit the code proves nothing, and that is found out here rather than by the long run of all of them. */
test.each(MUTANTS)('the text of the mutant $name stands once in $file, and its test is there', (mutant) => {
  const { file, text, instead, caughtBy, test: name } = mutant;
  const pieces = readFileSync(path.join(ROOT, file), 'utf8').split(text);
  expect(pieces.length - 1).toBe(1);
  expect(instead).not.toBe(text);
  // `npm test` runs it: what is red there, and only that, protects a contributor.
  expect(caughtBy).not.toMatch(/^test\/deep\//);
  expect(existsSync(path.join(ROOT, caughtBy))).toBe(true);
  // Jest takes the name for a pattern. The tests of the model have theirs from a table.
  const words = name === undefined || name === 'postgrest' ? '' : name;
  expect(readFileSync(path.join(ROOT, caughtBy), 'utf8')).toContain(words);
});
