import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Api, startApi } from '../../doors/http/server.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const EXAMPLES = path.join(ROOT, 'examples');
/** `import … from 'mnemoq'` as a user writes it, of the sources and not of the last build. */
const FROM_SOURCES = '--conditions=mnemoq-source';

let stack: Stack;
let api: Api;
let environment: Record<string, string>;

beforeAll(async () => {
  stack = await startStack({ environment: { MEMORY_API_PORT: '0', MEMORY_REFLECTOR_EVERY_TURNS: '2' } });
  await stack.startWorkers();
  api = await startApi(stack.environment, '1.0.0');
  const bin = stack.environment['MNEMOQ_DATA_DIR'] ?? '';
  // As npm puts it on the path.
  writeFileSync(path.join(bin, 'mnemoq'), `#!/bin/sh\nexec "${process.execPath}" "${ROOT}/cli/main.ts" "$@"\n`);
  chmodSync(path.join(bin, 'mnemoq'), 0o755);
  environment = {
    ...stack.environment,
    PATH: `${bin}:${process.env['PATH']}`,
    PORT: '0',
    MNEMOQ_URL: api.url,
    MNEMOQ_KEY: (stack.environment['MEMORY_API_KEYS'] ?? '').split(':')[1] ?? '',
  };
});
afterAll(async () => {
  await api.stop();
  await stack.stop();
});

interface Running {
  process: ChildProcess;
  said: { stdout: string };
  ended: Promise<{ code: number | null; output: string }>;
}

function start(command: string, ...args: string[]): Running {
  const child = spawn(command, args, { cwd: EXAMPLES, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const ended = once(child, 'close').then(([code]) => ({
    code: code as number | null,
    output: said.stdout + said.stderr,
  }));
  return { process: child, said, ended };
}

/** The last lines that are set in before an example's code begins: what it says it prints. */
function promised(file: string): string {
  const [head = ''] = readFileSync(path.join(EXAMPLES, file), 'utf8').split(/^(?:import|set) /m);
  const lines = head.split('\n').map((line) => line.replace(/^(\/\/|#) ?/, ''));
  const end = lines.findLastIndex((line) => line.startsWith('  ')) + 1;
  const start = lines.findLastIndex((line, index) => index < end && !line.startsWith('  ')) + 1;
  return lines
    .slice(start, end)
    .map((line) => `${line.trim()}\n`)
    .join('');
}

describe('each example ends with the output it promises', () => {
  test.each([
    ['plain-bullmq.mjs', process.execPath, 'plain-bullmq.mjs'],
    ['chat-loop.ts', process.execPath, FROM_SOURCES, 'chat-loop.ts'],
    ['reflection-loop.ts', process.execPath, FROM_SOURCES, 'reflection-loop.ts'],
    ['mcp-agent.ts', process.execPath, 'mcp-agent.ts'],
    ['curl.sh', 'sh', 'curl.sh'],
  ])('%s', async (file, command, ...args) => {
    expect(await start(command, ...args).ended).toEqual({ code: 0, output: promised(file) });
  });

  test.each([
    ['service.ts', 'a conversation', process.execPath, FROM_SOURCES, 'service.ts'],
    ['python/service.py', '/another?', 'python3', 'python/service.py'],
  ])('%s', async (file, conversation, command, ...args) => {
    const running = start(command, ...args);
    const [, url = ''] = (await eventually(() => /^listening on (\S+)/.exec(running.said.stdout))) ?? [];
    const post = async (body: string) => {
      const response = await fetch(`${url}/chat/${encodeURIComponent(conversation)}`, { method: 'POST', body });
      return { status: response.status, text: await response.text() };
    };
    const answers = [];
    for (const message of ['Hello', 'Again']) answers.push(await post(JSON.stringify({ user: 'ada', message })));
    expect(answers.map(({ text }) => text).join('')).toBe(promised(file));
    expect((await post('{')).status).toBe(400);
    expect((await post('{"user":7,"message":"x"}')).status).toBe(400);
    running.process.kill('SIGTERM');
    expect(await running.ended).toEqual({ code: 0, output: `listening on ${url}\nstopped\n` });
  });
});
