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
  /** Its port, which it keeps over a restart. Without it, a free port is taken. */
  port?: number;
  /** When the append-only file is written to the disk. */
  appendfsync?: 'always' | 'everysec';
  /** Further options of redis-server. */
  args?: readonly string[];
  /** The program of the server. Without it, the first one of PROGRAMS that is installed is taken. */
  program?: string;
}

/** The programs that can be used as the server. The first one that is found is taken. */
const PROGRAMS = ['redis-server', 'valkey-server'];

/** Starts a Redis on loopback with its append-only file in `dir`, so that what it has acknowledged survives a restart. */
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
    // It has its own process group, so Ctrl-C reaches only Mnemoq, which stops its workers before it stops Redis.
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
