import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { MnemoqError } from '../shared/errors.ts';

export interface SupabaseKeys {
  /** The key of the service role, `sb_secret_…`. */
  secretKey: string;
  /** The key of the role anon, `sb_publishable_…`. */
  publishableKey: string;
  /** The secret that signs the tokens of users. It has at least 32 characters. */
  jwtSecret: string;
}

/** The first message to the process of the server. */
export interface SupabaseStart extends SupabaseKeys {
  dataDir: string;
}

export interface EmbeddedSupabase {
  url: string;
  process: ChildProcess;
  stop(): Promise<void>;
}

/** Starts the API of Supabase (@supabase/lite) over PGlite on loopback, with its database in `dir` and all migrations applied. */
export async function startSupabase(dir: string, keys: SupabaseKeys): Promise<EmbeddedSupabase> {
  mkdirSync(path.dirname(dir), { recursive: true });
  const extension = path.extname(import.meta.filename);
  const program = path.join(import.meta.dirname, `supabase-server${extension}`);
  const child = fork(program, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], detached: true });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk).slice(-4000)));
  // They are not passed as arguments, because everybody on the machine can read those.
  child.send({ dataDir: dir, ...keys } satisfies SupabaseStart);
  const [message] = (await Promise.race([once(child, 'message'), failed(child, () => said)])) as [{ port: number }];
  return {
    url: `http://127.0.0.1:${message.port}`,
    process: child,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function failed(child: ChildProcess, said: () => string): Promise<never> {
  const [code] = await once(child, 'exit');
  throw new MnemoqError('supabase_unavailable', `the embedded Supabase ended with code ${code}: ${said().trim()}`);
}
