import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { eventually } from '../support/faults/eventually.ts';

const ROOT = path.join(import.meta.dirname, '../..');

/** In the place of the command: it stays until it is told to end, and takes a while for it. */
const COMMAND = `
import { untilSignal } from ${JSON.stringify(path.join(ROOT, 'cli/process/until-signal.ts'))};
const signal = untilSignal();
console.log('up ' + process.pid);
setInterval(() => undefined, 1000);
const name = await signal;
setTimeout(() => { console.log('ended after ' + name); process.exit(0); }, 1500);
`;

let dir: string;
let said: string;
let npm: ChildProcess;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-npm-'));
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
  writeFileSync(
    path.join(dir, 'package.json'),
    JSON.stringify({ name: 'copy', version: '1.0.0', type: 'module', scripts }),
  );
  for (const folder of ['scripts', 'cli']) mkdirSync(path.join(dir, folder));
  writeFileSync(path.join(dir, 'scripts/setup.mjs'), '');
  writeFileSync(path.join(dir, 'cli/main.ts'), COMMAND);
});
afterEach(() => {
  const [, pid] = /up (\d+)/.exec(said) ?? [];
  if (pid !== undefined && isAlive(Number(pid))) process.kill(Number(pid), 'SIGKILL');
  rmSync(dir, { recursive: true });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Starts a script of package.json in a process group of its own, as a shell does. */
async function startScript(name: string): Promise<void> {
  said = '';
  npm = spawn('npm', ['run', '--silent', name], { cwd: dir, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  npm.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
  await eventually(() => said.includes('up '));
}

test.each(['start', 'demo'])(
  'SIGTERM to npm run %s ends what it started, and npm after that',
  async (name) => {
    await startScript(name);
    const ended = once(npm, 'exit');
    npm.kill('SIGTERM');
    await ended;
    await eventually(() => said.includes('ended'), 10_000);
    expect(said).toMatch(/ended after SIGTERM\n$/);
  },
  60_000,
);

test.each(['start', 'demo'])(
  'Ctrl-C reaches npm run %s several times and counts once',
  async (name) => {
    await startScript(name);
    const ended = once(npm, 'exit');
    process.kill(-(npm.pid ?? 0), 'SIGINT');
    await ended;
    await eventually(() => said.includes('ended'), 10_000);
    expect(said).toMatch(/ended after SIGINT\n$/);
  },
  60_000,
);
