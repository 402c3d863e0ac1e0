import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SCHEMA_FILE, SCHEMA_VERSION, SEARCH_FILE } from '../../shared/long-term/schema.ts';
import { type BarePostgres, startBarePostgres } from '../support/services/postgrest.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const BOOTSTRAP = 'supabase/bootstrap.sql';
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

test('supabase/migrations has the two files that people are told to apply, and no others', () => {
  const names = readdirSync(path.join(ROOT, 'supabase/migrations')).toSorted();
  expect(names.map((name) => `supabase/migrations/${name}`)).toEqual([SCHEMA_FILE, SEARCH_FILE]);
});

// On PGlite, which does not run inside of Jest, `mnemoq dev` and the tests' embedded Supabase apply the same files.
describe('a bare PostgreSQL', () => {
  let postgres: BarePostgres;
  beforeAll(async () => {
    postgres = await startBarePostgres();
  });
  afterAll(() => postgres.stop());
  const apply = (file: string) => postgres.sql(read(file));
  const ours = () =>
    postgres.sql(`
      select relname as name from pg_class where relnamespace = 'public'::regnamespace
      union select proname from pg_proc where pronamespace = 'public'::regnamespace`);

  test('without the bootstrap is told to run it, and nothing is made', async () => {
    const all = 'role anon, role authenticated, role service_role, function auth.uid()';
    await expect(apply(SCHEMA_FILE)).rejects.toMatchObject({
      message: `This database lacks what a Supabase project has (${all}). Run ${BOOTSTRAP} first.`,
      hint: expect.stringContaining(`-f ${BOOTSTRAP}`),
    });
    expect(await ours()).toEqual([]);
  });

  test('with some of it is told what is missing', async () => {
    await postgres.sql('create role anon; create role authenticated');
    await expect(apply(SCHEMA_FILE)).rejects.toThrow('(role service_role, function auth.uid())');
    expect(await ours()).toEqual([]);
  });

  test('with the bootstrap, run twice, takes the search file only after the schema', async () => {
    await apply(BOOTSTRAP);
    await apply(BOOTSTRAP);
    await expect(apply(SEARCH_FILE)).rejects.toThrow(`Apply ${SCHEMA_FILE} first.`);
    expect(await ours()).toEqual([]);
    await apply(SCHEMA_FILE);
    expect(await postgres.sql('select public.mnemoq_schema_version() as version')).toEqual([
      { version: SCHEMA_VERSION },
    ]);
    await apply(SEARCH_FILE);
  });

  test('has a comment on each table, column and function', async () => {
    const silent = await postgres.sql(`
      select oid::regprocedure::text as name from pg_proc
       where pronamespace = 'public'::regnamespace and obj_description(oid, 'pg_proc') is null
      union all
      select c.relname || '.' || coalesce(a.attname, '') from pg_class c
        left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
         and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)`);
    expect(silent).toEqual([]);
    expect(await ours()).not.toEqual([]);
  });
});
