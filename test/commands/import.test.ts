import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runCli, startCli } from '../support/clients/cli.ts';
import { type CommandOptions, type CommandResult, runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn, turns } from '../support/inputs/turns.ts';

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

async function importing(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return runCommand(['import', ...args], { environment: stack.environment, cwd: dir, ...options });
}

function file(name: string, content: string | Buffer): string {
  writeFileSync(path.join(dir, name), content);
  return name;
}

const jsonl = (items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('');

async function questions(contextId: string): Promise<unknown[]> {
  const { items: records } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
  return records.map(({ userMessage }) => userMessage);
}

describe('import', () => {
  test.each(['plain', 'gzipped', 'from standard input', 'gzipped from standard input'])(
    'takes a file %s, and with --wait every turn is readable when it ends',
    async (how) => {
      const contextId = stack.newContextId();
      const text = jsonl(turns(contextId, 3));
      const content = how.startsWith('gzipped') ? gzipSync(text) : Buffer.from(text);
      const { environment } = stack;
      const ended = how.endsWith('standard input')
        ? await runCli(['import', '-', '--wait', '--json'], { environment, cwd: dir, input: content })
        : await importing([file('turns', content), '--wait', '--json']);
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      expect(JSON.parse(ended.stdout)).toEqual({
        lines: 3,
        queued: 3,
        failed: 0,
        failures: [],
        cached: true,
        reason: null,
      });
      expect(await questions(contextId)).toEqual(['question 0', 'question 1', 'question 2']);
    },
  );

  test('reads what editors on Windows write: a byte order mark, CRLF, empty lines, no newline at the end', async () => {
    const contextId = stack.newContextId();
    const [a, b] = turns(contextId, 2).map((each) => JSON.stringify(each));
    const ended = await importing([file('windows.jsonl', `\uFEFF${a}\r\n\r\n  \r\n${b}`), '--wait', '--json']);
    expect([ended.code, JSON.parse(ended.stdout)]).toMatchObject([0, { lines: 2, queued: 2, failed: 0 }]);
    expect(await questions(contextId)).toEqual(['question 0', 'question 1']);
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
    expect(await importing([name, '--idempotency-prefix', prefix, '--wait'])).toMatchObject({ code: 0 });
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

/** Twice what the heap of the process holds, in lines that are refused as they are read; in test/deep/ they are JSON. */
const HEAP_MB = 96;

test(`200 MB of lines run through a heap of ${HEAP_MB} MB`, async () => {
  const contextId = stack.newContextId();
  const bulky = 'x'.repeat(100_000);
  const lines = Array.from({ length: 2_500 }, (_, n) => (n % 5 === 0 ? JSON.stringify(turn(contextId, n)) : bulky));
  const input = gzipSync(lines.join('\n'));
  const nodeOptions = [`--max-old-space-size=${HEAP_MB}`];
  const ended = await runCli(['import', '-', '--json'], {
    environment: stack.environment,
    cwd: dir,
    input,
    nodeOptions,
  });
  expect(ended).toMatchObject({ code: 1, signal: null, stderr: '' });
  const result = JSON.parse(ended.stdout);
  expect(result).toMatchObject({ lines: 2_500, queued: 500, failed: 2_000 });
  expect(result.failures.map(({ line }: { line: number }) => line)).toEqual(
    Array.from({ length: 125 }, (_, i) => 1 + i)
      .filter((line) => line % 5 !== 1)
      .slice(0, 100),
  );
  await stack.idle('chat');
  expect(await stack.client.zcard(`memory:order:${contextId}`)).toBe(500);
});
