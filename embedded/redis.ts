import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { MnemoqError } from '../shared/errors.ts';
import { freePort } from './free-port.ts';
import { whenGone } from './guard.ts';

export interface EmbeddedRedis {
  url: string;
  port: number;
  process: ChildProcess;
  stop(): Promise<void>;
}

export interface EmbeddedRedisOptions {
  /** Keeps its port over a restart; a free one without it. */
  port?: number;
  /** How often the append-only file reaches the disk. */
  appendfsync?: 'always' | 'everysec';
  /** More of redis-server's own options. */
  args?: readonly string[];
  /** The server program; without it the first of PROGRAMS that is installed. */
  program?: string;
}

/** The server programs that will do, the first one found is taken. */
const PROGRAMS = ['redis-server', 'valkey-server'];

/** A Redis of its own, on loopback, with its append-only file in `dir`: what is acknowledged survives a restart. */
export async function startRedis(dir: string, options: EmbeddedRedisOptions = {}): Promise<EmbeddedRedis> {
  mkdirSync(dir, { recursive: true });
  const port = options.port ?? (await freePort());
  const child = spawn(
    options.program ?? findRedisServer(),
    [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      dir,
      '--appendonly',
      'yes',
      '--appendfsync',
      options.appendfsync ?? 'everysec',
      '--save',
      '',
      '--maxmemory-policy',
      'noeviction',
      '--daemonize',
      'no',
      ...(options.args ?? []),
    ],
    // Its own process group: Ctrl-C reaches only Mnemoq, which stops its workers before it stops Redis.
    { stdio: ['ignore', 'pipe', 'inherit'], detached: true },
  );
  const callOff = child.pid === undefined ? () => undefined : whenGone('kill "$1"', String(child.pid));
  child.once('exit', callOff);
  await ready(child);
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    process: child,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

function findRedisServer(): string {
  const found = PROGRAMS.find((program) => spawnSync(program, ['--version']).status === 0);
  if (found) return found;
  throw new MnemoqError(
    'redis_unavailable',
    'redis-server is not installed; install it with: sudo apt-get install -y redis-server (or brew install redis)',
  );
}

async function ready(child: ChildProcess): Promise<void> {
  const said: string[] = [];
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      if (said.push(line) > 20) said.shift();
      if (/ready to accept connections/i.test(line)) resolve();
    });
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(new MnemoqError('redis_unavailable', `redis-server ended with code ${code}:\n${said.join('\n')}`)),
    );
  });
}
