import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Ended, type RunningCli, runCli, startCli } from '../support/clients/cli.ts';
import { living, livingDescendants } from '../support/living-processes.ts';
import { eventually } from '../support/faults/eventually.ts';
import { turns } from '../support/inputs/turns.ts';

let dir: string;
let dev: RunningCli;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-dev-'));
});
afterAll(async () => {
  dev.process.kill('SIGKILL');
  await dev.ended;
  await eventually(() => livingDescendants([dev.process.pid ?? 0]).length === 0);
  rmSync(dir, { recursive: true });
});

async function startDev(environment: Record<string, string> = {}): Promise<number[]> {
  dev = startCli(['dev'], { cwd: dir, environment });
  await Promise.race([
    eventually(() => dev.said.stdout.includes('Ctrl-C stops it')),
    dev.ended.then(({ stderr }) => Promise.reject(new Error(stderr))),
  ]);
  return livingDescendants([dev.process.pid ?? 0]);
}

/** In the folder where dev runs, and without any setting. */
async function cli(args: readonly string[], input = ''): Promise<Ended> {
  return runCli(args, { cwd: dir, input });
}

const environmentFile = () => path.join(dir, '.mnemoq', 'dev.env');

test('dev runs everything, commands beside it find it, and Ctrl-C leaves no process and keeps the data', async () => {
  const pids = await startDev();
  expect(pids.length).toBeGreaterThanOrEqual(6); // Redis, Supabase, three workers, the dashboard
  const [, url = ''] = /dashboard {2}(http:\S+)/.exec(dev.said.stdout) ?? [];
  expect((await fetch(url)).status).toBe(401);
  const secrets = readFileSync(environmentFile(), 'utf8').match(/(?<=KEYS?=").*(?=")/g) ?? [];
  expect(secrets).toHaveLength(4);
  for (const { args } of living(pids)) expect(secrets.filter((secret) => args.includes(secret))).toEqual([]);

  const jsonl = turns('kept', 3).map((turn) => JSON.stringify(turn));
  expect(await cli(['import', '-', '--wait'], jsonl.join('\n'))).toMatchObject({ code: 0 });
  expect(await cli(['flush'])).toMatchObject({ code: 0, stdout: '✓ 3 of 3 committed in 1 batch\n' });
  expect(await cli(['doctor'])).toMatchObject({ code: 0, stderr: '' });
  const second = await cli(['dev']);
  expect(second).toMatchObject({ code: 2, stderr: expect.stringContaining(`in use by process ${dev.process.pid}`) });

  dev.process.kill('SIGINT');
  expect(await dev.ended).toMatchObject({ code: 0, signal: null, stderr: expect.stringMatching(/stopping …\n$/) });
  expect(living(pids)).toEqual([]);
  expect(existsSync(environmentFile())).toBe(false);
  expect(await cli(['stats'])).toMatchObject({ code: 2, stderr: expect.stringContaining('run `mnemoq dev`') });
});

test('the data is there again the next time, events go out, and when dev is killed everything it started ends', async () => {
  const types: string[] = [];
  const hook = createServer((request, response) => {
    void (async () => {
      types.push((JSON.parse(await text(request)) as { type: string }).type);
      response.end();
    })();
  });
  await once(hook.listen(0, '127.0.0.1'), 'listening');
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  const url = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`;
  const pids = await startDev({ MEMORY_WEBHOOK_URL: url, MEMORY_WEBHOOK_SECRET: secret });
  const { stdout } = await cli(['context', 'kept', '-f', 'messages']);
  expect(stdout).toBe([0, 1, 2].map((n) => `user question ${n}\nassistant answer ${n}\n`).join(''));
  expect(await cli(['reflect', 'kept', 'It went well.'])).toMatchObject({ code: 0 });
  await eventually(() => types.includes('record.pinned'));
  hook.close();
  hook.closeAllConnections();

  dev.process.kill('SIGKILL');
  await eventually(() => living(pids).length === 0);
  expect(existsSync(environmentFile())).toBe(false);
});

test('Ctrl-C while it starts ends it with 1 and leaves no process', async () => {
  dev = startCli(['dev'], { cwd: dir });
  const started = () => livingDescendants([dev.process.pid ?? 0]);
  await eventually(() => started().length >= 2);
  const pids = started();
  dev.process.kill('SIGINT');
  expect(await dev.ended).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/error: stopped before everything was up\n$/),
  });
  expect(living(pids)).toEqual([]);
});
