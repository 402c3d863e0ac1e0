import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CliOptions, type Ended, runCli, startCli } from './support/cli.ts';
import { eventually } from './support/eventually.ts';
import { startStack, type Stack } from './support/stack.ts';
import { turn, turns } from './support/turns.ts';

let stack: Stack;
let dir: string;
beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-import-'));
  stack = await startStack();
  await stack.startWorkers('chat');
});
afterAll(async () => {
  await stack.stop();
  rmSync(dir, { recursive: true });
});

async function importing(args: readonly string[], options: CliOptions = {}): Promise<Ended> {
  return runCli(['import', ...args], { environment: stack.environment, cwd: dir, ...options });
}

function file(name: string, content: string | Buffer): string {
  writeFileSync(path.join(dir, name), content);
  return name;
}

const jsonl = (items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('');

async function questions(contextId: string): Promise<unknown[]> {
  const { records } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
  return records.map(({ userMessage }) => userMessage);
}

describe('import', () => {
  test.each(['plain', 'gzipped', 'from standard input', 'gzipped from standard input'])(
    'takes a file %s, and with --wait every turn is readable when it ends',
    async (how) => {
      const contextId = stack.newContextId();
      const text = jsonl(turns(contextId, 3));
      const content = how.startsWith('gzipped') ? gzipSync(text) : Buffer.from(text);
      const ended = how.endsWith('standard input')
        ? await importing(['-', '--wait', '--json'], { input: content })
        : await importing([file('turns', content), '--wait', '--json']);
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      expect(JSON.parse(ended.stdout)).toEqual({ lines: 3, queued: 3, bad: 0, badLines: [], cached: true });
      expect(await questions(contextId)).toEqual(['question 0', 'question 1', 'question 2']);
    },
  );

  test('reads what editors on Windows write: a byte order mark, CRLF, empty lines, no newline at the end', async () => {
    const contextId = stack.newContextId();
    const [a, b] = turns(contextId, 2).map((each) => JSON.stringify(each));
    const ended = await importing([file('windows.jsonl', `\uFEFF${a}\r\n\r\n  \r\n${b}`), '--wait', '--json']);
    expect([ended.code, JSON.parse(ended.stdout)]).toMatchObject([0, { lines: 2, queued: 2, bad: 0 }]);
    expect(await questions(contextId)).toEqual(['question 0', 'question 1']);
  });

  test('reports bad lines by number without their text, queues the others and ends with 1', async () => {
    const contextId = stack.newContextId();
    const good = turn(contextId, 1);
    const { userId: _none, ...nobodys } = good;
    const lines = [
      JSON.stringify(good),
      'SECRET not JSON',
      '',
      JSON.stringify(nobodys),
      '[]',
      'null',
      JSON.stringify({ ...good, SECRET: 1 }),
      JSON.stringify({ ...good, userMessage: 'SECRET'.repeat(400_000) }),
      JSON.stringify({ ...good, createdAt: 'yesterday' }),
      'x'.repeat(26_000_000),
      JSON.stringify({ ...good, userMessage: 'the last' }),
    ];
    const ended = await importing([file('bad.jsonl', lines.join('\n')), '--wait']);
    expect([ended.code, ended.stdout]).toEqual([1, '2 of 10 lines queued and cached, 8 bad\n']);
    const reported = ended.stderr.split('\n').filter((line) => line.startsWith('line '));
    expect(reported).toEqual([
      'line 2: expected JSON, received 15 characters of something else',
      expect.stringMatching(/^line 4: .*userId: expected a string, received nothing/),
      expect.stringMatching(/^line 5: .*expected an object, received an array of 0/),
      expect.stringMatching(/^line 6: .*expected an object, received null/),
      expect.stringMatching(/^line 7: .*SECRET: expected no such field/),
      expect.stringMatching(/^line 8: .*userMessage: expected at most 2097152 bytes/),
      expect.stringMatching(/^line 9: .*createdAt: expected an existing ISO 8601 date/),
      expect.stringMatching(/^line 10: expected at most \d+ bytes, received a longer line/),
    ]);
    expect(ended.stderr).not.toMatch(/SECRET(?!: expected)/);
    expect(await questions(contextId)).toEqual(['question 1', 'the last']);
  });

  test('an empty file is nothing to do', async () => {
    const ended = await importing([file('empty', '')]);
    expect(ended).toMatchObject({ code: 0, stdout: '0 of 0 lines queued\n' });
  });

  test.each([
    ['a missing file', () => 'none', /cannot read none: ENOENT/],
    ['a folder', () => '.', /cannot read \.: it is a folder/],
    [
      'gzip that is none',
      () => file('no.gz', Buffer.from('\x1f\x8bno gzip at all', 'latin1')),
      /no\.gz: .*compression/,
    ],
    [
      'a gzip cut off',
      () => file('cut.gz', gzipSync('x'.repeat(999)).subarray(0, -9)),
      /cut\.gz: unexpected end of file/,
    ],
  ])('%s ends it with 2 and one line', async (_name, create, message) => {
    const ended = await importing([create(), '--json']);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toMatch(message);
    expect(ended.stderr.trimEnd()).not.toContain('\n');
  });

  test('says how many turns of a file that breaks off are queued', async () => {
    const lines = turns(stack.newContextId(), 1200).map((each) => JSON.stringify({ ...each, id: crypto.randomUUID() }));
    const ended = await importing([file('half.gz', gzipSync(lines.join('\n')).subarray(0, -100)), '--json']);
    expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining('1000 turns queued by then') });
  });
});

test('with a prefix the same file again adds nothing, and lines with ids of their own keep them', async () => {
  const contextId = stack.newContextId();
  const own = { ...turn(contextId, 2), id: '01a200c3-1fec-7624-8835-6a9eafcae111' };
  const name = file('again.jsonl', jsonl([turn(contextId, 0), turn(contextId, 1), own]));
  for (const [prefix, expected] of [
    ['monday', 3],
    ['monday', 3],
    ['tuesday', 5],
  ] as const) {
    expect(await importing([name, '-k', prefix, '--wait'])).toMatchObject({ code: 0 });
    await stack.queue('chat').clean(0, 1000, 'completed'); // as an hour later: the queue has forgotten them
    expect(await questions(contextId)).toHaveLength(expected);
  }
});

test('Ctrl-C stops it, and what it has queued stays queued', async () => {
  const contextId = stack.newContextId();
  const { process: child, ended } = startCli(['import', '-'], {
    environment: stack.environment,
    cwd: dir,
    input: null,
  });
  child.stdin?.write(jsonl(turns(contextId, 600)));
  await eventually(async () => (await questions(contextId)).length === 500);
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^error: stopped; 500 turns queued by then/m)]);
  expect(await questions(contextId)).toHaveLength(500);
});

/** What the lines together would not fit in: their text alone is twice as much. */
const HEAP_MB = 96;

test(`10,000 lines run through a heap of ${HEAP_MB} MB`, async () => {
  const contextId = stack.newContextId();
  const bulky = JSON.stringify({ contextId, padding: 'x'.repeat(100_000) });
  const lines = Array.from({ length: 10_000 }, (_, n) => (n % 5 === 0 ? bulky : JSON.stringify(turn(contextId, n))));
  const input = gzipSync(lines.join('\n'));
  const nodeOptions = [`--max-old-space-size=${HEAP_MB}`];
  const ended = await importing(['-', '--json'], { input, nodeOptions, limitMs: 110_000 });
  expect(ended).toMatchObject({ code: 1, signal: null, stderr: '' });
  const result = JSON.parse(ended.stdout);
  expect(result).toMatchObject({ lines: 10_000, queued: 8000, bad: 2000 });
  expect(result.badLines.map(({ line }: { line: number }) => line)).toEqual(
    Array.from({ length: 100 }, (_, i) => 1 + 5 * i),
  );
  await stack.idle('chat');
  expect(await stack.client.zcard(`memory:order:${contextId}`)).toBe(8000);
}, 120_000);
