/**
 * The embedded Supabase, as a process of its own: PGlite computes in the thread in which it runs and takes about 1 GB, and
 * @supabase/lite prints each row that is refused, which must not get into anybody's log. Its parent sends it a SupabaseStart. It
 * answers with its port, and it ends when its parent ends.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { serve } from '@hono/node-server';
import { takeLock } from './lock.ts';
import type { SupabaseStart } from './supabase.ts';

/** How long it waits for an earlier process, whose parent was killed, to close the files. */
const PREDECESSOR_MS = 20_000;

const told = once(process, 'message');
// This begins here and not only when the server is up, because the parent may end before that.
let close = async (): Promise<void> => undefined;
let ending: Promise<void> | null = null;
for (const event of ['disconnect', 'SIGTERM']) process.once(event, () => void (ending ??= end()));

process.env['DO_NOT_TRACK'] = '1';
process.env['LITE_TELEMETRY'] = '0';
const { App } = await import('@supabase/lite');
const { createPgliteConnection } = await import('@supabase/lite/pglite');

const SQL_DIR = findSqlDir(import.meta.dirname);
const [{ dataDir, secretKey, publishableKey, jwtSecret }] = (await told) as [SupabaseStart];
process.once('exit', await takeLock(`${dataDir}.lock`, PREDECESSOR_MS));

const connection = await createPgliteConnection({ url: `file://${dataDir}` });
await migrate();
const app = new App({
  connection,
  auth: { enabled: true, secret_key: secretKey, publishable_key: publishableKey, jwt_secret: jwtSecret },
  api: { max_rows: 1000 },
  options: { server: { admin: false } },
} as never);
await app.init();
await app.ensureSystemSchema(); // it looks up signed-in users in auth.users

const server = serve(
  { fetch: async (request) => app.fetch(await literally(request)), hostname: '127.0.0.1', port: 0 },
  ({ port }) => {
    process.send?.({ port });
  },
);

close = async () => {
  server.close();
  await connection.close();
};

async function end(): Promise<void> {
  await close();
  process.exit(0);
}

/**
 * @supabase/lite interprets the value of an `eq` filter: it reads `true` as a boolean and `{a}` as JSON, and it trims spaces and
 * quotes. PostgREST takes the value as it is. In a quoted list both take it as it is, so the filters are rewritten to that form.
 * This is not needed any more once `eq('context_id', 'true')` finds its row. It does not in 0.10.0; test/reading/odd-ids.test.ts
 * tries such ids.
 */
async function literally(request: Request): Promise<Request> {
  const url = new URL(request.url);
  const filters = [...url.searchParams].filter(([, value]) => value.startsWith('eq.'));
  if (filters.length === 0) return request;
  for (const [column, value] of filters) {
    url.searchParams.set(column, `in.("${value.slice('eq.'.length).replace(/["\\]/g, '\\$&')}")`);
  }
  const { method, headers } = request;
  const hasBody = method !== 'GET' && method !== 'HEAD';
  return new Request(url, hasBody ? { method, headers, body: await request.text() } : { method, headers });
}

/**
 * Applies the migrations that were not applied before, each file in one transaction. It uses the table in which the Supabase CLI
 * keeps the history of migrations.
 */
async function migrate(): Promise<void> {
  await connection.driver.exec(readFileSync(path.join(SQL_DIR, 'bootstrap.sql'), 'utf8'));
  await connection.driver.exec(`
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (version text primary key, name text);
  `);
  const { rows } = await connection.driver.query<{ version: string }>(
    'select version from supabase_migrations.schema_migrations',
  );
  const applied = new Set(rows.map(({ version }) => version));
  for (const file of readdirSync(path.join(SQL_DIR, 'migrations')).toSorted()) {
    const [, version = '', name = ''] = /^(\d+)_(.+)\.sql$/.exec(file) ?? [];
    if (applied.has(version)) continue;
    const sql = readFileSync(path.join(SQL_DIR, 'migrations', file), 'utf8');
    await connection.driver.transaction(async (tx) => {
      await tx.exec(sql);
      await tx.query('insert into supabase_migrations.schema_migrations values ($1, $2)', [version, name]);
    });
  }
}

/** The folder `supabase/` is beside the sources, and beside `dist/` in an installed package. */
function findSqlDir(dir: string): string {
  const candidates = [path.join(dir, '..', 'supabase'), path.join(dir, '..', '..', 'supabase')];
  const found = candidates.find((candidate) => readdirSyncOrNone(candidate).includes('bootstrap.sql'));
  if (!found) throw new Error('supabase/bootstrap.sql is missing from this installation');
  return found;
}

function readdirSyncOrNone(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
