import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type BarePostgres, startBarePostgres } from '../../support/services/postgrest.ts';
import { type Ended, npmProgram, run } from './programs.ts';

const ROOT = path.join(import.meta.dirname, '../../..');

export interface HostedLike extends BarePostgres {
  /** The Supabase CLI on this database. */
  supabase(...args: string[]): Promise<Ended>;
}

/** A PostgreSQL with what a hosted project has before Mnemoq, for the Supabase CLI. `bin` is where its programs are. */
export async function startHostedLike(bin = ''): Promise<HostedLike> {
  const postgres = await startBarePostgres({ tcp: true, bin });
  const home = mkdtempSync(path.join(tmpdir(), 'mnemoq-supabase-cli-'));
  await prepareAsHosted(postgres);
  return {
    ...postgres,
    async supabase(...args) {
      // The CLI keeps a file of its own at home, and reports what it is used for unless it is told not to.
      const environment = { HOME: home, SUPABASE_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' };
      return run(npmProgram('supabase'), [...args, `--remote=${postgres.url}`], { cwd: ROOT, environment });
    },
    async stop() {
      await postgres.stop();
      rmSync(home, { recursive: true });
    },
  };
}

/** The bootstrap, and the rights that a hosted project gives the roles of the API on whatever is made in `public`. */
export async function prepareAsHosted(postgres: BarePostgres): Promise<void> {
  await postgres.sql(readFileSync(path.join(ROOT, 'supabase/bootstrap.sql'), 'utf8'));
  for (const kind of ['tables', 'functions', 'sequences']) {
    await postgres.sql(
      `alter default privileges in schema public grant all on ${kind} to anon, authenticated, service_role`,
    );
  }
}
