import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { JUDGES } from '../judges/runner/judges.ts';
import { acceptedBy, disputes } from '../judges/support/accepted.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const FOLDER = path.join(ROOT, 'test/judges');
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

test('each file of a judge belongs to exactly one judge of npm run judges, and is there', () => {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.test.ts'));
  const named = JUDGES.flatMap(({ run }) => ('tests' in run ? run.tests : []));
  const own = named.filter((file) => file.startsWith('test/judges/')).map((file) => path.basename(file));
  expect(own.toSorted()).toEqual(files.toSorted());
  expect(named.filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
  expect(new Set(JUDGES.map(({ name }) => name)).size).toBe(JUDGES.length);
});

test.each(['test/judges', 'test/judges/js-ipfs'])(
  '%s pins each package, and its lock file names no registry',
  (folder) => {
    const { dependencies } = JSON.parse(read(`${folder}/package.json`)) as { dependencies: Record<string, string> };
    expect(Object.values(dependencies).filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    expect(read(`${folder}/package-lock.json`)).not.toMatch(/"resolved": "http/);
    expect(read(`${folder}/.npmrc`).split('\n')).toContain('omit-lockfile-registry-resolved=true');
  },
);

test('no judge is a dependency of Mnemoq', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  const judges = JSON.parse(read('test/judges/package.json')) as { dependencies: Record<string, string> };
  // The producer of BullMQ 5 makes its ids as ours does.
  const shared = Object.keys(judges.dependencies).filter((name) => Object.hasOwn(dependencies, name));
  expect(shared).toEqual(['bullmq', 'uuid']);
});

test('each accepted finding belongs to a judge and has a reason', () => {
  const files = readdirSync(path.join(FOLDER, 'accepted')).map((file) => path.parse(file));
  expect(files.filter(({ ext, name }) => ext !== '.yml' || !JUDGES.some((judge) => judge.name === name))).toEqual([]);
  const accepted = files.flatMap(({ name }) => Object.entries(acceptedBy(name)));
  expect(accepted.filter(([, reason]) => typeof reason !== 'string' || reason.split(' ').length < 2)).toEqual([]);
});

describe('the findings of a judge', () => {
  const accepted = { 'a known one': 'we live with it' };

  test('that are the accepted ones are no dispute, however often they are found', () => {
    expect(disputes(['a known one', 'a known one'], accepted)).toEqual([]);
  });

  test('that nobody accepted are one, also under the name of something every object has', () => {
    expect(disputes(['a known one', 'toString'], accepted)).toEqual(['found: toString']);
  });

  test('that are not found any more must leave the accepted ones', () => {
    expect(disputes([], accepted)).toEqual(['accepted, but not found any more: a known one']);
  });
});
