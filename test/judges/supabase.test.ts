import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { acceptedBy, disputes } from './support/accepted.ts';
import { type HostedLike, startHostedLike } from './support/supabase-cli.ts';

const VERSIONS = ['20261128000000', '20261128000001'];

interface Advice {
  results: { name: string; metadata: { schema: string; name: string } }[];
}

let postgres: HostedLike;
beforeAll(async () => {
  postgres = await startHostedLike();
});
afterAll(() => postgres.stop());

async function advice(): Promise<string[]> {
  const { stdout } = await postgres.supabase(
    'db',
    'advisors',
    '--type',
    'all',
    '--level',
    'info',
    '--output-format',
    'json',
  );
  const { results } = JSON.parse(stdout) as Advice;
  return results.map(({ name, metadata }) => `${name} ${metadata.schema}.${metadata.name}`);
}

test('db push applies every file once', async () => {
  const first = await postgres.supabase('db', 'push', '--yes');
  expect([first.code, first.stderr]).toEqual([
    0,
    expect.stringContaining(`Applying migration ${VERSIONS[0]}_mnemoq.sql`),
  ]);
  const history = await postgres.sql('select version from supabase_migrations.schema_migrations order by version');
  expect(history.map(({ version }) => version)).toEqual(VERSIONS);
  const again = await postgres.supabase('db', 'push', '--yes');
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
