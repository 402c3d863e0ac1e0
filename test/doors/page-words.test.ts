import path from 'node:path';
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { verification } from '../../doors/wire/answers/reflections.ts';
import { MODULES } from '../../shared/records/records.ts';

const WORDS = path.join(import.meta.dirname, '../../doors/dashboard/page/words');

/** The names of the checks, as the OpenAPI document has them. */
function checkNames(): string[] {
  const [names = '[]'] = /\["fetched"[^\]]*\]/.exec(JSON.stringify(z.toJSONSchema(verification))) ?? [];
  return JSON.parse(names) as string[];
}

test.each([
  ['English', 'words-en.js', 'en'],
  ['Chinese', 'words-zh-tw.js', 'zhTW'],
])('the page has a word in %s for every check and every kind of record that the server can name', async (...given) => {
  const [, file, name] = given;
  const { [name]: words } = (await import(path.join(WORDS, file))) as Record<string, Record<string, string>>;
  const needed = [...checkNames().map((check) => `check.${check}`), ...MODULES.map((module) => `record.${module}`)];
  expect(needed.length).toBeGreaterThan(10);
  expect(needed.filter((each) => !Object.hasOwn(words ?? {}, each))).toEqual([]);
});
