import { tmpdir } from 'node:os';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { runCli } from '../support/clients/cli.ts';
import { turn } from '../support/inputs/turns.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  await stack.startWorkers('chat');
});
afterAll(() => stack.stop());

/** What the lines together would not fit in: their text alone is twice as much. */
const HEAP_MB = 96;

test(`10,000 lines run through a heap of ${HEAP_MB} MB`, async () => {
  const contextId = stack.newContextId();
  const bulky = JSON.stringify({ contextId, padding: 'x'.repeat(100_000) });
  const lines = Array.from({ length: 10_000 }, (_, n) => (n % 5 === 0 ? bulky : JSON.stringify(turn(contextId, n))));
  const input = gzipSync(lines.join('\n'));
  const nodeOptions = [`--max-old-space-size=${HEAP_MB}`];
  const ended = await runCli(['import', '-', '--json'], {
    environment: stack.environment,
    cwd: tmpdir(),
    input,
    nodeOptions,
  });
  expect(ended).toMatchObject({ code: 1, signal: null, stderr: '' });
  const result = JSON.parse(ended.stdout);
  expect(result).toMatchObject({ lines: 10_000, queued: 8000, failed: 2000 });
  expect(result.failures.map(({ line }: { line: number }) => line)).toEqual(
    Array.from({ length: 100 }, (_, i) => 1 + 5 * i),
  );
  await stack.idle('chat');
  expect(await stack.client.zcard(`memory:order:${contextId}`)).toBe(8000);
});
