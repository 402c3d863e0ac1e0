import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type RunningCli, runCli, startCli } from '../support/clients/cli.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const TEXT = 'SECRET-TEXT-9b3e';
const [OLD, NEW] = [1, 2].map(() => randomBytes(24).toString('base64url')) as [string, string];

let stack: Stack;
let cwd: string;
let running: RunningCli | null = null;
beforeAll(async () => {
  stack = await startStack({ environment: { MEMORY_API_PORT: '0', MEMORY_LOG_LEVEL: 'trace' } });
});
beforeEach(() => {
  cwd = mkdtempSync(path.join(tmpdir(), 'mnemoq-api-'));
});
afterEach(async () => {
  running?.process.kill('SIGKILL');
  await running?.ended;
  running = null;
  rmSync(cwd, { recursive: true, force: true });
});
afterAll(() => stack.stop());

/** With its keys in .env, where they can be changed while it runs; without any, with none. */
async function start(keys?: string): Promise<{ cli: RunningCli; url: string }> {
  const { MEMORY_API_KEYS: _none, ...environment } = stack.environment;
  if (keys !== undefined) writeKeys(keys);
  const cli = startCli(['api'], { environment, cwd });
  running = cli;
  const url = await eventually(() => /HTTP API at (http:\S+),/.exec(cli.said.stderr)?.[1]);
  return { cli, url: url ?? '' };
}

function writeKeys(keys: string): void {
  writeFileSync(path.join(cwd, '.env'), `MEMORY_API_KEYS=${keys}\n`);
}

async function statusWith(url: string, key: string): Promise<number> {
  const response = await fetch(`${url}/memory/stats`, { headers: { authorization: `Bearer ${key}` } });
  await response.text();
  return response.status;
}

test('without keys it says so, and does not listen beyond this machine', async () => {
  const { cli, url } = await start();
  expect(new URL(url).hostname).toBe('127.0.0.1');
  await eventually(() => cli.said.stderr.includes('no keys are set'));
  expect((await fetch(`${url}/memory/stats`)).status).toBe(200);
  const { MEMORY_API_KEYS: _none, ...without } = stack.environment;
  const environment = { ...without, MEMORY_API_HOST: '0.0.0.0' };
  const { code, stderr } = await runCli(['api'], { environment, cwd });
  expect(code).not.toBe(0);
  expect(stderr).toContain('MEMORY_API_HOST: expected a loopback address');
});

test('SIGHUP takes the keys of .env anew while requests go on', async () => {
  const { cli, url } = await start(`ops:${OLD},ops:${NEW}`);
  const answers: number[] = [];
  const rotated = new AbortController();
  const asking = (async () => {
    while (!rotated.signal.aborted) answers.push(await statusWith(url, NEW));
  })();
  try {
    expect(await statusWith(url, OLD)).toBe(200);
    writeKeys(`ops:${NEW}`);
    cli.process.kill('SIGHUP');
    await eventually(async () => (await statusWith(url, OLD)) === 401);
  } finally {
    rotated.abort();
    await asking;
  }
  expect(new Set(answers)).toEqual(new Set([200]));
});

test('SIGTERM lets a request in hand finish, and the log has no key and no text', async () => {
  const { cli, url } = await start(`ops:${OLD}`);
  const answer = fetch(`${url}/memory/chat`, {
    method: 'POST',
    headers: { authorization: `Bearer ${OLD}`, 'content-type': 'application/json', prefer: 'wait=30' },
    body: JSON.stringify({
      context_id: stack.newContextId(),
      user_id: 'user-1',
      user_message: TEXT,
      assistant_message: TEXT,
    }),
  });
  await eventually(async () => (await stack.queue('chat').getWaitingCount()) === 1);
  expect(await statusWith(url, NEW)).toBe(401);
  cli.process.kill('SIGTERM');
  // It takes no connection any more, and still has the one in hand.
  await eventually(async () =>
    fetch(`${url}/health/live`).then(
      () => false,
      () => true,
    ),
  );
  expect(cli.process.exitCode).toBeNull();
  await stack.startWorkers('chat');
  const response = await answer;
  expect([response.status, await response.json()]).toEqual([200, expect.objectContaining({ redis_stored: true })]);
  const { code, stdout, stderr } = await cli.ended;
  expect(code).toBe(0);
  expect(stderr).toContain('"answered"');
  for (const secret of [
    TEXT,
    OLD,
    NEW,
    'uthorization',
    'Bearer',
    stack.environment['SUPABASE_SERVICE_ROLE_KEY'] ?? '',
  ]) {
    expect((stdout + stderr).includes(secret)).toBe(false);
  }
});
