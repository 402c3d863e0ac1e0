import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { parse as parseDotenv } from 'dotenv';
import { parse as parseYaml } from 'yaml';
import { loadConfig } from '../../shared/settings/config.ts';
import { VARIABLE_NAMES } from '../../shared/settings/variables.ts';
import { WORKER_KINDS } from '../../workers/kinds.ts';
import { runCommand } from '../support/clients/command.ts';
import {
  compose,
  type Model,
  parseModel,
  read,
  ROOT,
  type Service,
  withDefaults,
} from '../support/services/compose.ts';
import { supabaseService } from '../support/services/supabase-service.ts';

const LOCAL = 'docker-compose.yml';
const HOSTED = 'docker-compose.hosted.yml';
const SUPABASE = 'deploy/supabase/compose.yml';
const MONITORING = 'deploy/monitoring/compose.yml';

/** What compose takes from .env besides Mnemoq's own variables. */
const COMPOSE_VARIABLES = [
  'REDIS_PASSWORD',
  'POSTGRES_PASSWORD',
  'POSTGREST_PASSWORD',
  'REDIS_APPENDFSYNC',
  'REDIS_MAXMEMORY',
  'MNEMOQ_MEMORY_LIMIT',
  'MNEMOQ_STOP_GRACE_PERIOD',
  'COMPOSE_FILE',
  'GRAFANA_PASSWORD',
  'GRAFANA_PORT',
  'PROMETHEUS_PORT',
];
const SHARED_SECRETS = [
  'REDIS_PASSWORD',
  'SUPABASE_SERVICE_ROLE_KEY',
  'MEMORY_ENCRYPTION_KEYS',
  'MEMORY_SIGNING_KEY',
  'MEMORY_API_KEYS',
];
const SUPABASE_SECRETS = ['POSTGRES_PASSWORD', 'POSTGREST_PASSWORD', 'SUPABASE_JWT_SECRET'];

const scratch = mkdtempSync(path.join(tmpdir(), 'mnemoq-containers-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const seconds = (duration: string) => Number.parseInt(duration, 10) * (duration.endsWith('m') ? 60 : 1);
const ownServices = (model: Model) => Object.entries(model.services).filter(([, { build }]) => build !== undefined);
const environmentOf = (service: Service) => Object.keys(service.environment ?? {});
const known: ReadonlySet<string> = new Set(Object.values(VARIABLE_NAMES));

interface Ended {
  code: number;
  output: string;
}

async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string>,
  cwd = scratch,
): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(command, args, { env: { PATH: process.env['PATH'], ...env }, cwd }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
    });
  });
}

/** How a health command ends when everything on `port` answers with `status`. */
async function healthExit(script: readonly string[], status: number, port?: number): Promise<number> {
  const server = createServer((_request, response) => response.writeHead(status).end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const free = String((server.address() as AddressInfo).port);
  const args = script.map((arg) => (port === undefined ? arg : arg.replace(`:${port}/`, `:${free}/`)));
  const { code } = await run(process.execPath, args, { MEMORY_HEALTH_PORT: free });
  server.close();
  return code;
}

describe.each([LOCAL, HOSTED])('%s', (file) => {
  const model = compose(file);
  const own = ownServices(model);

  test('has one service per worker, the HTTP API and the dashboard', () => {
    const commands = own.map(([, { command }]) => command?.join(' '));
    for (const kind of WORKER_KINDS) expect(commands.filter((each) => each === `worker ${kind}`)).toHaveLength(1);
    for (const door of ['api', 'dashboard']) expect(commands.filter((each) => each === door)).toHaveLength(1);
  });

  test('gives each service of Mnemoq only variables Mnemoq reads, and leaves none out', () => {
    const given = own.flatMap(([, service]) => environmentOf(service));
    expect(given.filter((name) => !known.has(name))).toEqual([]);
    // The data folder belongs to the embedded parts, which no image has.
    const missing = [...known].filter((name) => !given.includes(name) && name !== VARIABLE_NAMES.dataDir);
    expect(missing).toEqual([]);
  });

  test('gives each secret only to those who need it', () => {
    const holders = (name: string) =>
      own.filter(([, service]) => environmentOf(service).includes(name)).map(([n]) => n);
    expect(holders('MEMORY_SIGNING_KEY')).toEqual(['reflection', 'api', 'cli']);
    const readers = ['chat', 'reflection', 'reflector', 'api', 'dashboard', 'mcp', 'cli'];
    expect(holders('MEMORY_ENCRYPTION_KEYS')).toEqual(readers);
    expect(holders('SUPABASE_SERVICE_ROLE_KEY')).toEqual(own.map(([name]) => name));
    expect(holders('MEMORY_API_KEYS')).toEqual(['api', 'dashboard', 'mcp']);
  });

  test.each(own)('confines %s', (_name, service) => {
    expect(service).toMatchObject({
      read_only: true,
      init: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      tmpfs: [expect.stringMatching(/^\/tmp\b/)],
    });
  });

  test.each(own)('lets %s finish its jobs before it is killed', (_name, { stop_grace_period: period = '10s' }) => {
    const { shutdownTimeoutMs } = loadConfig({}, []);
    expect(seconds(withDefaults(period)) * 1000).toBeGreaterThan(shutdownTimeoutMs);
  });

  test('publishes nothing but the HTTP API, the dashboard, the MCP server and what charts them, and those on loopback', () => {
    const published = Object.entries(model.services).filter(([, { ports }]) => ports !== undefined);
    expect(published.map(([name]) => name)).toEqual(['prometheus', 'grafana', 'api', 'dashboard', 'mcp']);
    for (const port of published.flatMap(([, { ports = [] }]) => ports)) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test('pins every image to a minor version at least', () => {
    const images = Object.values(model.services).flatMap(({ image, build }) => (build === undefined ? [image] : []));
    expect(images.filter((image) => !/:v?\d+\.\d+/.test(image))).toEqual([]);
  });

  test('depends on services that are there, and waits until they are well', () => {
    for (const { depends_on: needs = {} } of Object.values(model.services)) {
      for (const [name, { condition }] of Object.entries(needs)) {
        expect(Object.keys(model.services)).toContain(name);
        expect(condition).toMatch(/^service_(healthy|completed_successfully)$/);
      }
    }
  });

  test('keeps every service off the internet that has no business there', () => {
    const open = Object.entries(model.services)
      .filter(([, { networks }]) => networks.some((name) => !model.networks[name]?.internal))
      .map(([name]) => name)
      .toSorted();
    const talkToSupabase = file === HOSTED ? ['chat', 'cli', 'flush', 'reflection'] : [];
    expect(open).toEqual(
      [
        ...talkToSupabase,
        'api',
        'dashboard',
        'grafana',
        'ipfs',
        'mcp',
        'prometheus',
        'reflector',
        'webhook',
      ].toSorted(),
    );
  });

  test('runs a Redis that keeps what it has accepted', () => {
    const command = (model.services['redis']?.command ?? []).map(withDefaults);
    const option = (name: string) => command[command.indexOf(`--${name}`) + 1];
    expect(command[0]).toBe('redis-server');
    expect(option('appendonly')).toBe('yes');
    expect(option('appendfsync')).toBe('everysec');
    expect(option('maxmemory-policy')).toBe('noeviction');
    expect(option('requirepass')).toBe('');
  });

  test('takes the dashboard for alive when it asks for a password, and only then', async () => {
    const { dashboard } = model.services;
    const [kind, program, ...script] = dashboard?.healthcheck?.test ?? [];
    expect([kind, program]).toEqual(['CMD', 'node']);
    const port = Number(dashboard?.environment?.['MEMORY_DASHBOARD_PORT']);
    expect(dashboard?.ports?.[0]?.endsWith(`:${port}`)).toBe(true);
    expect(await healthExit(script, 401, port)).toBe(0);
    expect(await healthExit(script, 200, port)).toBe(1);
    expect(await healthExit(script, 500, port)).toBe(1);
  });

  test('takes the MCP server for well when it says so', async () => {
    const { mcp } = model.services;
    const [, , ...script] = mcp?.healthcheck?.test ?? [];
    const port = Number(mcp?.environment?.['MEMORY_MCP_PORT']);
    expect(mcp?.ports?.[0]?.endsWith(`:${port}`)).toBe(true);
    expect([await healthExit(script, 200, port), await healthExit(script, 503, port)]).toEqual([0, 1]);
  });
});

describe.each([LOCAL, HOSTED])('monitoring in %s', (file) => {
  const model = compose(file);
  const { prometheus, grafana } = model.services;
  const scraped = ownServices(model).filter(([name]) => name !== 'cli');

  test('is a profile, and confined', () => {
    for (const service of [prometheus, grafana]) {
      expect(service).toMatchObject({
        profiles: ['monitoring'],
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      });
      const [kind, ...command] = service?.healthcheck?.test ?? [];
      expect([kind, command.length > 1]).toEqual(['CMD', true]);
    }
  });

  test('scrapes every process of Mnemoq at its health port, over a network without the internet', () => {
    const { scrape_configs: jobs } = parseYaml(read('deploy/monitoring/prometheus.yml')) as {
      scrape_configs: { dns_sd_configs?: { names: string[]; port: number }[] }[];
    };
    const found = jobs.flatMap(({ dns_sd_configs: lookups = [] }) => lookups);
    expect(found.flatMap(({ names }) => names)).toEqual(scraped.map(([name]) => name));
    for (const [, { environment, networks }] of scraped) {
      expect(environment).toMatchObject({ MEMORY_HEALTH_HOST: '0.0.0.0', MEMORY_HEALTH_PORT: found[0]?.port });
      expect(networks).toContain('monitoring');
    }
    expect(prometheus?.networks).toEqual(['monitoring', 'charts']);
    expect(model.networks['monitoring']).toEqual({ internal: true });
  });

  test('lets Grafana reach Prometheus and nothing else', () => {
    const near = Object.entries(model.services).filter(([, { networks }]) => networks.includes('charts'));
    expect(grafana?.networks).toEqual(['charts']);
    expect(near.map(([name]) => name)).toEqual(['prometheus', 'grafana']);
  });

  test('mounts files that are there, and those alone are written that must be', () => {
    const volumes = [prometheus, grafana].flatMap((service) => service?.volumes ?? []);
    const [mounted, kept] = [true, false].map((isFile) => volumes.filter((each) => each.startsWith('.') === isFile));
    expect(kept).toEqual(['prometheus:/prometheus', 'grafana:/var/lib/grafana']);
    expect(mounted?.filter((each) => !each.endsWith(':ro'))).toEqual([]);
    const folder = path.join(ROOT, path.dirname(MONITORING));
    const sources = mounted?.map((each) => path.join(folder, each.split(':')[0] ?? '')) ?? [];
    expect(sources).toHaveLength(4);
    expect(sources.filter((source) => !existsSync(source))).toEqual([]);
  });

  test('does not start Grafana without a password, and lets nobody in without one', async () => {
    const [shell = '', ...args] = (grafana?.entrypoint ?? []).map((arg) =>
      arg.replaceAll('$$', '$').replace('/run.sh', 'echo it runs'),
    );
    const without = await run(shell, args, {
      GF_SECURITY_ADMIN_PASSWORD: withDefaults(String(grafana?.environment?.['GF_SECURITY_ADMIN_PASSWORD'])),
    });
    expect(without).toEqual({ code: 1, output: expect.stringMatching(/GRAFANA_PASSWORD is not set.*openssl rand/) });
    expect(await run(shell, args, { GF_SECURITY_ADMIN_PASSWORD: 'x' })).toEqual({ code: 0, output: 'it runs\n' });
    expect(grafana?.environment).toMatchObject({
      GF_AUTH_ANONYMOUS_ENABLED: 'false',
      GF_ANALYTICS_REPORTING_ENABLED: 'false',
      GF_ANALYTICS_CHECK_FOR_UPDATES: 'false',
      GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES: 'false',
    });
  });
});

describe('the two ways to have a Supabase', () => {
  test('differ in the local Supabase only', () => {
    const local = Object.keys(parseModel(SUPABASE).services);
    expect(local).toEqual(['postgres', 'migrate', 'postgrest', 'gateway']);
    const others = Object.keys(compose(LOCAL).services).filter((name) => !local.includes(name));
    expect(Object.keys(compose(HOSTED).services)).toEqual(others);
  });

  test('take the address from .env, or from the gateway', () => {
    const addresses = (file: string) =>
      new Set(ownServices(compose(file)).flatMap(([, { environment }]) => environment?.['SUPABASE_URL'] ?? []));
    expect([...addresses(LOCAL)]).toEqual(['http://gateway:8000']);
    expect([...addresses(HOSTED)]).toEqual([expect.stringMatching(/^\$\{SUPABASE_URL:\?.+\}$/)]);
  });

  test('let the database be reached by PostgREST and the migrations only', () => {
    const { services } = compose(LOCAL);
    const near = (name: string) =>
      Object.keys(services).filter(
        (other) => other !== name && services[other]?.networks.some((each) => services[name]?.networks.includes(each)),
      );
    expect(near('postgres')).toEqual(['migrate', 'postgrest']);
    expect(near('postgrest')).toEqual(['postgres', 'migrate', 'gateway']);
    expect(near('ipfs').toSorted()).toEqual(['api', 'cli', 'dashboard', 'mcp', 'reflection']);
  });

  test.each([
    ...SHARED_SECRETS.map((name) => [name, LOCAL] as const),
    ...SUPABASE_SECRETS.map((name) => [name, SUPABASE] as const),
  ])('ask for %s in %s and say how to make it', (name, file) => {
    const uses = read(file).match(new RegExp(String.raw`\$\{${name}\b[^}]*\}`, 'g')) ?? [];
    expect(uses).not.toHaveLength(0);
    for (const use of uses) expect(use).toMatch(/^\$\{\w+:\?.*(openssl rand|command that makes it)/);
  });
});

const hasCompose = spawnSync('docker', ['compose', 'version']).status === 0;
(hasCompose ? describe : describe.skip)('docker compose', () => {
  /** Where the docker command finds its plugins; a developer's other variables must not fill in for missing ones. */
  const dockerEnvironment = Object.fromEntries(
    ['HOME', 'DOCKER_CONFIG'].flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
  );
  const config = async (file: string, environment: Record<string, string>) => {
    const lines = Object.entries(environment).map(([name, value]) => `${name}=${value}\n`);
    writeFileSync(path.join(scratch, 'compose.env'), lines.join(''));
    const args = ['compose', '--env-file', path.join(scratch, 'compose.env'), '--profile', '*', '--file', file];
    return run('docker', [...args, 'config', '--services'], dockerEnvironment, ROOT);
  };
  const secrets = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, `some-${name}`]));
  const local = secrets([...SHARED_SECRETS, ...SUPABASE_SECRETS]);
  const hosted = { ...secrets(SHARED_SECRETS), SUPABASE_URL: 'https://project.supabase.co' };

  test.each([
    [LOCAL, local],
    [HOSTED, hosted],
  ])('accepts %s', async (file, environment) => {
    const { code, output } = await config(file, environment);
    expect({ code, services: output.trim().split('\n').toSorted() }).toEqual({
      code: 0,
      services: Object.keys(compose(file).services).toSorted(),
    });
  });

  test.each([
    ...Object.keys(local).map((name) => [LOCAL, name, local] as const),
    ...Object.keys(hosted).map((name) => [HOSTED, name, hosted] as const),
  ])('refuses %s without %s', async (file, name, environment) => {
    const { code, output } = await config(file, { ...environment, [name]: '' });
    expect(code).not.toBe(0);
    expect(output).toContain(`required variable ${name} is missing`);
  });
});

describe('the commands of the containers', () => {
  const commands = ownServices(compose(LOCAL)).map(([, { command = [] }]) => command.join(' '));

  test.each(commands)('mnemoq %s exists', async (command) => {
    const help = await runCommand([...command.split(' '), '--help']);
    const unconfigured = await runCommand(command.split(' '), { cwd: scratch });
    expect(help.code).toBe(0);
    // Only a command whose arguments are right gets as far as its configuration.
    expect(unconfigured.stdout + unconfigured.stderr).toContain('the configuration is not complete');
  });
});

describe('Dockerfile', () => {
  const lines = read('Dockerfile')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  const stages = lines
    .join('\n')
    .split(/^(?=FROM )/m)
    .slice(1);
  const final = stages.at(-1) ?? '';
  const copies = stages.flatMap((stage) => stage.match(/^COPY .+$/gm) ?? []).map((line) => line.split(' ').slice(1));
  const sourcesOf = (words: readonly string[]) => words.filter((word) => !word.startsWith('--')).slice(0, -1);
  const fromContext = copies.filter((words) => !words.some((word) => word.startsWith('--from='))).flatMap(sourcesOf);
  const fromBuild = copies.filter((words) => words.includes('--from=build')).flatMap(sourcesOf);
  const ignore = read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));

  test('copies files that exist and that .dockerignore lets in, and nothing else is let in', () => {
    expect(ignore[0]).toBe('*');
    expect(new Set(fromContext)).toEqual(new Set(ignore.slice(1).map((line) => line.replace(/^!(.+?)\/?$/, '$1'))));
    expect(fromContext.filter((source) => !existsSync(path.join(ROOT, source)))).toEqual([]);
  });

  test('builds what it takes out of the build, from all there is to compile', () => {
    expect(fromBuild).toEqual(['/app/node_modules', '/app/dist']);
    const { include, compilerOptions } = JSON.parse(read('tsconfig.build.json'));
    expect(compilerOptions.outDir).toBe('dist');
    expect(fromContext).toEqual(expect.arrayContaining(include));
    expect(stages[0]).toMatch(/npm ci --ignore-scripts.*\n[^]*npm run build && npm prune --omit=dev/);
  });

  test('runs the built command, on Node.js 24, as a user that is not root and owns nothing', () => {
    const main = 'dist/cli/main.js';
    expect(JSON.parse(read('package.json')).bin).toEqual({ mnemoq: main });
    expect(final).toContain(`ENTRYPOINT ["node", "${main}"]`);
    expect(final).toMatch(/^FROM node:24\.\d+-\w+-slim$/m);
    expect(/^USER (.+)$/m.exec(final)?.[1]).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(final).not.toContain('--chown');
    expect(final).toMatch(/^STOPSIGNAL SIGTERM$/m);
    expect(final).toMatch(/^ENV .*NODE_ENV=production/m);
  });

  test('starts without what production does not install', () => {
    const installed = Object.keys(JSON.parse(read('package.json')).dependencies);
    const reached = new Set(['cli/main.ts']);
    const missing = new Set<string>();
    for (const file of reached) {
      const imports = /^(?:import (?!type )[^;']*|export [*{][^;']*|(?:const [^;=]+ = )?await import\()'([^']+)'/gm;
      for (const [, name = ''] of read(file).matchAll(imports)) {
        if (name.startsWith('.')) reached.add(path.join(path.dirname(file), name));
        else if (!name.startsWith('node:') && !installed.some((each) => name === each || name.startsWith(`${each}/`)))
          missing.add(`${file} imports ${name}`);
      }
    }
    expect(reached).toContain('workers/worker.ts');
    expect([...missing]).toEqual([]);
  });

  test('takes a worker for healthy when /health/ready says so, and only then', async () => {
    const [program, ...script] = JSON.parse(/^HEALTHCHECK .*CMD (\[.*\])$/m.exec(final)?.[1] ?? '[]') as string[];
    expect(program).toBe('node');
    expect(script.join(' ')).toContain('/health/ready');
    expect(await healthExit(script, 200)).toBe(0);
    expect(await healthExit(script, 503)).toBe(1);
    expect((await run(process.execPath, script, { MEMORY_HEALTH_PORT: '9' })).code).toBe(1);
  });
});

describe('.env.example', () => {
  const text = read('.env.example');
  const set = parseDotenv(text);
  const commented = parseDotenv((text.match(/^# [A-Z][A-Z0-9_]*=.*$/gm) ?? []).map((line) => line.slice(2)).join('\n'));

  test('has exactly the variables of Mnemoq and of compose', () => {
    expect([...Object.keys(set), ...Object.keys(commented)].toSorted()).toEqual(
      [...known, ...COMPOSE_VARIABLES].toSorted(),
    );
  });

  test('has no secret in it, only places for them', () => {
    expect(Object.keys(set).toSorted()).toEqual([...SHARED_SECRETS, ...SUPABASE_SECRETS].toSorted());
    expect(Object.values(set).filter((value) => value !== '')).toEqual([]);
  });

  test('shows the defaults there are', () => {
    const { REDIS_URL, SUPABASE_URL, IPFS_API_URL, ...defaults } = commented;
    const stores = { REDIS_URL, SUPABASE_URL, IPFS_API_URL };
    expect(loadConfig(stores, ['redisUrl', 'supabaseUrl', 'ipfsApiUrl'])).toBeTruthy();
    expect(loadConfig(defaults, [])).toEqual(loadConfig({}, []));
    const inCompose = [LOCAL, HOSTED, SUPABASE, MONITORING].flatMap((file) => [
      ...read(file).matchAll(/\$\{(\w+):-([^}]*)\}/g),
    ]);
    expect(inCompose.length).toBeGreaterThan(0);
    for (const [, name = '', value] of inCompose) expect([name, commented[name]]).toEqual([name, value]);
  });

  test('makes a service role key that PostgREST takes', async () => {
    const command = /^# +(node --env-file=\.env .+)$/m.exec(text)?.[1] ?? '';
    const { url, jwtSecret } = supabaseService('postgrest');
    const answer = async (secret: string) => {
      writeFileSync(path.join(scratch, '.env'), `SUPABASE_JWT_SECRET=${secret}\n`);
      const { code, output } = await run('/bin/sh', ['-c', command], {});
      expect(code).toBe(0);
      const key = output.trim();
      const headers = { apikey: key, authorization: `Bearer ${key}` };
      return (await fetch(`${url}/rest/v1/memories?select=id&limit=1`, { headers })).status;
    };
    expect(await answer(jwtSecret)).toBe(200);
    expect(await answer(randomBytes(32).toString('hex'))).toBe(401);
  });
});
