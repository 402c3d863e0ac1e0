import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { runCli, startCli } from '../support/clients/cli.ts';
import { eventually } from '../support/faults/eventually.ts';

const ROOT = path.join(import.meta.dirname, '../..');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-demo-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('the demo', () => {
  test('ends with 1 and prints no result when it is interrupted', async () => {
    const { process: child, said, ended } = startCli(['demo', '--json'], { cwd: dir });
    await eventually(() => said.stderr.includes('starting the chat'));
    child.kill('SIGINT');
    expect(await ended).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('stopped before the end'),
    });
  });
});

/**
 * The demo judges the memory it runs on, so it must say no about a broken one. There is no switch in the program to break
 * it: a copy of the sources gets a fault.
 */
describe('the demo of a memory that', () => {
  test.each([
    {
      name: 'loses the end of every text',
      file: 'shared/tiers/new-record.ts',
      right: 'const tokens = tokenize(text, config.encoding);',
      wrong:
        'const tokens = tokenize(JSON.parse(JSON.stringify(text).replaceAll(/."(?=[,}])/g, \'"\')), config.encoding);',
      fails: ['private reflection', 'public reflection', 'decoded text'],
    },
    {
      name: 'commits all but one record of a batch',
      file: 'shared/long-term/memories.ts',
      right: 'insert(records.map(toRow)',
      wrong: 'insert(records.slice(records.length > 1 ? 1 : 0).map(toRow)',
      fails: ['rows in Supabase', 'decoded text'],
    },
  ])('$name says so and ends with 1', async ({ file, right, wrong, fails }) => {
    for (const part of ['cli', 'doors', 'embedded', 'producers', 'shared', 'supabase', 'workers', 'package.json']) {
      cpSync(path.join(ROOT, part), path.join(dir, part), { recursive: true });
    }
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(dir, 'node_modules'));
    const source = readFileSync(path.join(dir, file), 'utf8');
    expect(source).toContain(right);
    writeFileSync(path.join(dir, file), source.replace(right, wrong));

    const main = path.join(dir, 'cli', 'main.ts');
    const { code, stdout } = await runCli(['demo', '--json'], { main, cwd: dir });
    const { ok, checks } = JSON.parse(stdout);
    expect([code, ok]).toEqual([1, false]);
    const failed = checks.filter((check: { ok: boolean }) => !check.ok).map(({ name }: { name: string }) => name);
    expect([...new Set(failed)]).toEqual(fails);
  });
});
