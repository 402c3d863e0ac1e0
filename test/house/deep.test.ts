import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { FORMS } from '../deep/runner/forms.ts';

const ROOT = path.join(import.meta.dirname, '../..');

test('each long test belongs to exactly one form of npm run test:deep', () => {
  const files = readdirSync(path.join(ROOT, 'test/deep'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => path.join('test/deep', name));
  const named = FORMS.flatMap(({ run }) => ('tests' in run ? run.tests : []));
  expect(named.filter((name) => name.startsWith('test/deep/')).toSorted()).toEqual(files.toSorted());
});

test.each(FORMS)('the form $name has a name of its own, and what it runs is there', ({ name, run }) => {
  expect(FORMS.filter((form) => form.name === name)).toHaveLength(1);
  const files = 'tests' in run ? run.tests : run.program.slice(0, 1);
  expect(files.filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
  // One configuration of jest for all files of a form.
  expect(new Set(files.map((file) => file.startsWith('test/deep/'))).size).toBe(1);
});
