import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type BarePostgres, startBarePostgres } from '../support/services/postgrest.ts';
import { acceptedBy, disputes } from './support/accepted.ts';
import { npmProgram, run } from './support/programs.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const VERSIONS = ['20261128000000', '20261128000001'];

interface Advice {
  results: { name: string; metadata: { schema: string; name: string } }[];
}

let postgres: BarePostgres;
let home: string;
beforeAll(async () => {
  postgres = await startBarePostgres({ tcp: true });
  home = mkdtempSync(path.join(tmpdir(), 'mnemoq-supabase-cli-'));
  await postgres.sql(readFileSync(path.join(ROOT, 'supabase/bootstrap.sql'), 'utf8'));
  // As in a hosted project, where the roles of the API get every right on whatever is made in `public`.
  for (const kind of ['tables', 'functions', 'sequences']) {
    await postgres.sql(
      `alter default privileges in schema public grant all on ${kind} to anon, authenticated, service_role`,
    );
  }
});
afterAll(async () => {
  await postgres.stop();
  rmSync(home, { recursive: true });
});

async function supabase(...args: string[]) {
  // The CLI keeps a file of its own at home, and reports what it is used for unless it is told not to.
  const environment = { HOME: home, SUPABASE_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' };
  return run(npmProgram('supabase'), [...args, `--remote=${postgres.url}`], { cwd: ROOT, environment });
}

async function advice(): Promise<string[]> {
  const { stdout } = await supabase('db', 'advisors', '--type', 'all', '--level', 'info', '--output-format', 'json');
  const { results } = JSON.parse(stdout) as Advice;
  return results.map(({ name, metadata }) => `${name} ${metadata.schema}.${metadata.name}`);
}

test('db push applies every file once', async () => {
  const first = await supabase('db', 'push', '--yes');
  expect([first.code, first.stderr]).toEqual([
    0,
    expect.stringContaining(`Applying migration ${VERSIONS[0]}_mnemoq.sql`),
  ]);
  const history = await postgres.sql('select version from supabase_migrations.schema_migrations order by version');
  expect(history.map(({ version }) => version)).toEqual(VERSIONS);
  const again = await supabase('db', 'push', '--yes');
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('up to date') });
});

test('db advisors has nothing to say about the schema but what is accepted', async () => {
  expect(disputes(await advice(), acceptedBy('supabase'))).toEqual([]);
});

test('db advisors does find a table that is open to everybody, and a function without a search path', async () => {
  await postgres.sql(`
    create table public.forgotten (id integer primary key);
    create function public.careless() returns integer language sql as 'select 1'`);
  const found = await advice();
  expect(found).toEqual(
    expect.arrayContaining(['rls_disabled_in_public public.forgotten', 'function_search_path_mutable public.careless']),
  );
});
