import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { freePort } from './free-port.ts';

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
}

/** The server programs that will do, the first one found is taken. */
const PROGRAMS = ['redis-server', 'valkey-server'];

/** A Redis of its own, on loopback, with its append-only file in `dir`: what is acknowledged survives a restart. */
export async function startRedis(dir: string, options: EmbeddedRedisOptions = {}): Promise<EmbeddedRedis> {
  mkdirSync(dir, { recursive: true });
  const port = options.port ?? (await freePort());
  const child = spawn(
    findRedisServer(),
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
  const killWithParent = () => child.kill('SIGKILL');
  process.once('exit', killWithParent);
  await ready(child);
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    process: child,
    async stop() {
      process.off('exit', killWithParent);
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
  throw new Error('redis-server is not installed; install it with: sudo apt-get install -y redis-server');
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
    child.once('exit', (code) => reject(new Error(`redis-server ended with code ${code}:\n${said.join('\n')}`)));
  });
}
