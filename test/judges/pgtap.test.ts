import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { type BarePostgres, startBarePostgres } from '../support/services/postgrest.ts';
import { unpackedPackage } from './runner/needs.ts';
import { prepareAsHosted } from './support/supabase-cli.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const SUPABASE = path.join(ROOT, 'supabase');
const QUESTIONS = readFileSync(path.join(import.meta.dirname, 'pgtap/who-may.sql'), 'utf8');

let postgres: BarePostgres;
beforeAll(async () => {
  postgres = await startBarePostgres();
  await prepareAsHosted(postgres);
  const migrations = readdirSync(path.join(SUPABASE, 'migrations')).toSorted();
  for (const file of migrations) await postgres.sql(readFileSync(path.join(SUPABASE, 'migrations', file), 'utf8'));
  // pgTAP is functions in SQL for any PostgreSQL; as an extension it could be loaded only from the folder of the server.
  await postgres.sql(`
    create schema tap; grant usage on schema tap to public; set search_path = tap, public; ${pgtap()}`);
});
afterAll(() => postgres.stop());

/** The text of the newest pgTAP in the unpacked package. */
function pgtap(): string {
  const root = unpackedPackage('pgtap');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /pgtap--[\d.]+\.sql$/.test(file),
  );
  const [newest = ''] = files.toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  return readFileSync(path.join(root, newest), 'utf8');
}

/** Asks in one transaction, which leaves nothing behind, and returns the lines that are not `ok`, with what stands below them. */
async function linesNotOk(questions: string): Promise<{ asked: number; wrong: string[] }> {
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  try {
    await client.query('begin; set local search_path = tap, public');
    const results = [await client.query({ text: questions, rowMode: 'array' })].flat() as { rows: unknown[][] }[];
    const lines = results.flatMap(({ rows }) => rows.flat()).filter((line) => typeof line === 'string' && line !== '');
    const plan = lines.map((line) => /^1\.\.(\d+)$/m.exec(String(line))?.[1]).find((count) => count !== undefined);
    const wrong = lines.map(String).filter((line) => !/^(ok \d|1\.\.\d)/.test(line));
    return { asked: Number(plan), wrong };
  } finally {
    await client.query('rollback');
    await client.end();
  }
}

test('pgTAP is content with who may read, write and call what', async () => {
  const { asked, wrong } = await linesNotOk(QUESTIONS);
  expect(wrong).toEqual([]);
  expect(asked).toBeGreaterThan(50);
});

test.each([
  ['a policy for everybody', 'create policy careless on public.memories for select using (true)'],
  ['a policy for writing', 'create policy careless on public.memories for delete to authenticated using (true)'],
  ['a right too many', 'grant select on public.memory_reflections to authenticated'],
  ['a function that everybody may call', 'create function public.careless() returns integer language sql return 1'],
  ['row level security switched off', 'alter table public.memories disable row level security'],
  ['a table more', 'create table public.careless (id integer primary key)'],
])('it sees %s', async (_mistake, sql) => {
  expect((await linesNotOk(`${sql}; ${QUESTIONS}`)).wrong).toContainEqual(expect.stringMatching(/^not ok/));
});
