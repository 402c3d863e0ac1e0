import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { unpackedPackage } from './runner/needs.ts';
import { acceptedBy, disputes } from './support/accepted.ts';
import { type HostedLike, startHostedLike } from './support/supabase-cli.ts';

interface Lint {
  results: { function: string; issues: { message: string }[] }[];
}

let postgres: HostedLike;
let dir: string;
beforeAll(async () => {
  // PostgreSQL runs as another user when root starts it, and that user need not be let into this folder.
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-plpgsql-check-'));
  cpSync(path.join(unpackedPackage('plpgsql_check'), 'usr'), path.join(dir, 'usr'), { recursive: true });
  spawnSync('chmod', ['-R', 'a+rX', dir]);
  const versions = path.join(dir, 'usr/lib/postgresql');
  postgres = await startHostedLike(path.join(versions, readdirSync(versions)[0] ?? '', 'bin'));
  await postgres.supabase('db', 'push', '--yes');
});
afterAll(async () => {
  await postgres.stop();
  rmSync(dir, { recursive: true });
});

async function lint(): Promise<string[]> {
  const ended = await postgres.supabase(
    'db',
    'lint',
    '--schema',
    'public',
    '--level',
    'warning',
    '--output-format',
    'json',
  );
  const { results } = JSON.parse(ended.stdout) as Lint;
  return results.flatMap((result) => result.issues.map(({ message }) => `${result.function}: ${message}`));
}

// `supabase db lint` has plpgsql_check read the functions in PL/pgSQL, an extension that every hosted project has.
test('supabase db lint finds nothing in the functions but what is accepted', async () => {
  expect(await postgres.sql('select public.mnemoq_schema_version() as version')).toHaveLength(1);
  expect(disputes(await lint(), acceptedBy('plpgsql-check'))).toEqual([]);
});

test('it does find a column that is not there', async () => {
  await postgres.sql(`
    create function public.careless() returns integer language plpgsql
    as 'begin return (select forgotten from public.memories limit 1); end'`);
  expect(await lint()).toContainEqual(expect.stringMatching(/^public.careless: column "forgotten" does not exist/));
});
