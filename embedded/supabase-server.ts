/**
 * The embedded Supabase as a process of its own: PGlite computes in the thread it runs in and takes about 1 GB, and on a
 * refused row @supabase/lite prints the row, which must not reach anybody's log.
 * Is told a SupabaseStart by its parent, answers with its port and ends with it.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { serve } from '@hono/node-server';
import { takeLock } from './lock.ts';
import type { SupabaseStart } from './supabase.ts';

/** How long to wait for one before it, whose parent was killed, to close its files. */
const PREDECESSOR_MS = 20_000;

const told = once(process, 'message');
// From here on, and not only once it is up: a parent may be gone before that.
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
await app.ensureSystemSchema(); // signed-in users are looked up in auth.users

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
 * @supabase/lite reads the value of an `eq` filter as a literal of its own: `true` as a boolean, `{a}` as JSON, spaces and
 * quotes trimmed. PostgREST takes it as it stands. In a quoted list both do, so the filters are put that way.
 * Unneeded once `eq('context_id', 'true')` finds its row (0.10.0 does not; test/bad-input.test.ts tries).
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

/** Applies what has not been applied, each file in one transaction, with the Supabase CLI's own history table. */
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

/** `supabase/` stands beside the sources, and beside `dist/` in an installed package. */
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
