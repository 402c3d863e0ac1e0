import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { MemoryCore } from '../../producers/index.ts';
import { type Environment, loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { readEnvironment } from '../../shared/settings/environment.ts';
import { VARIABLE_NAMES } from '../../shared/settings/variables.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { startWorker } from '../../workers/worker.ts';

const SEED = Buffer.alloc(32, 7).toString('base64');
const SHORT_SEED = Buffer.alloc(31, 7).toString('base64');

/** Each variable with values that must be refused, and a word of what is expected instead. */
const WRONG: Record<string, [expected: string, ...values: string[]]> = {
  REDIS_URL: [
    'redis://',
    'localhost',
    '127.0.0.1:6379',
    'http://localhost',
    'redis:6379',
    'redis://',
    'not a url',
    'redis+sentinel://h',
    'unix:///run/redis.sock',
    '/run/redis.sock',
    ' redis://h',
    'redis://h\n',
    'redis://h/first',
    'redis://h/-1',
    'redis://h/1/2',
    'redis://h?keyPrefix=x',
    'redis://h#1',
    'redis://h:0',
    'redis://h:65536',
    'redis://:p%ZZ@h',
    'redis://a:7000,b:7000',
    'redis+cluster://',
    'redis+cluster://a:7000,',
    'redis+cluster://a:port',
    'redis+cluster://a:70000',
    'redis+cluster://a:7000/1',
    'redis+cluster://:%zz@a:7000',
    'javascript:alert(1)',
  ],
  SUPABASE_URL: [
    'http',
    'ftp://x',
    'localhost:54321',
    '//x',
    'redis://x',
    'https://x\n',
    'https://x?apikey=y',
    'https://x/#y',
    'https://x:65536',
    'data:text/plain,x',
  ],
  SUPABASE_SERVICE_ROLE_KEY: [
    '16 characters',
    'short',
    '123456789012345',
    'a key with spaces in it',
    '字'.repeat(20),
    'a_key_of_a_file_\n',
  ],
  IPFS_API_URL: ['http', '/ip4/127.0.0.1/tcp/5001', 'ipfs://x'],
  MEMORY_REDIS_TTL_SECONDS: [
    '1 to 31536000',
    '0',
    '-1',
    '1.5',
    '2d',
    '1e3',
    '31536001',
    ' 5',
    '٥',
    '1_000',
    'NaN',
    '5\n',
  ],
  MEMORY_SHORT_TERM_LIMIT: ['1 to 10000', '0', '10001', 'many', '0x10'],
  MEMORY_ENCODING: ['cl100k_base', 'cl100k', 'CL100K_BASE', 'llama'],
  MEMORY_WRITE_MODE: ['batch or immediate', 'now', 'Batch'],
  MEMORY_FLUSH_STRATEGY: ['interval or off-peak', 'offpeak'],
  MEMORY_FLUSH_INTERVAL_MS: ['1000 to 86400000', '999', '86400001', '5m'],
  MEMORY_FLUSH_OFF_PEAK_CRON: [
    'cron',
    'nightly',
    '61 * * * *',
    '0 25 * * *',
    '3',
    '0 3 * *',
    '0 0 3 * * * *',
    '0 3 31 2 *',
    '@sometimes',
  ],
  MEMORY_FLUSH_TZ: ['time zone', 'Taipei', 'Asia/Nowhere', 'CST+8'],
  MEMORY_FLUSH_BATCH_SIZE: ['1 to 1000', '0', '1001'],
  MEMORY_FLUSH_MAX_PENDING: ['1 to 10000000', '0', '10000001'],
  MEMORY_TEXT_CACHE: ['encrypted, plain or off', 'none', 'true'],
  MEMORY_ENCRYPT_TOKENS: ['true or false', 'yes', '1', 'TRUE'],
  MEMORY_ALLOW_PLAIN_ROWS: ['true or false', 'yes', '1', 'TRUE'],
  MEMORY_ENCRYPTION_KEYS: [
    'kid:base64',
    SEED,
    `k1:${SHORT_SEED}`,
    `:${SEED}`,
    `k.1:${SEED}`,
    `k1:${SEED},`,
    `k1:${SEED},k1:${Buffer.alloc(32, 8).toString('base64')}`,
    `k1:${SEED},k2:${SHORT_SEED}`,
    `${'k'.repeat(33)}:${SEED}`,
  ],
  MEMORY_SIGNING_KEY: ['Ed25519', SHORT_SEED, `${SEED.slice(0, -2)}*=`, Buffer.alloc(64).toString('base64'), '12345'],
  MEMORY_RETIRED_SIGNING_KEYS: ['public Ed25519', SHORT_SEED, `${SEED},`, `${SEED},key`],
  MEMORY_API_KEYS: [
    'name:secret',
    'justasecretwithoutname',
    'name:tooshort',
    `a:${SEED},b`,
    `a b:${SEED}`,
    '1234567890',
    `a:${SEED},b:${SEED}`,
    `a:${SEED},b@c:${SEED}`,
    `a@:${SEED}`,
    `a@b@c:${SEED}`,
    `a@%zz:${SEED}`,
    `a@%00:${SEED}`,
    `a@${'x'.repeat(513)}:${SEED}`,
    `a:${'字'.repeat(16)}`,
    `a:${SEED},`,
  ],
  SUPABASE_JWT_SECRET: ['32 characters', 'a'.repeat(31)],
  SUPABASE_JWKS_URL: ['http', 'project.supabase.co', 'file:///keys.json'],
  MEMORY_API_HOST: ['address or a host name', '127.0.0.1:3000'],
  MEMORY_API_PORT: ['0 to 65535', '-1', '65536'],
  MEMORY_CORS_ORIGINS: ['origins', '*', 'https://a.example/', 'https://a.example,', 'a.example', 'null'],
  MEMORY_RATE_LIMIT_PER_MINUTE: ['0 to 10000000', '-1', '10000001', 'many'],
  MEMORY_MEMORIES_TABLE: ['table name', 'public.memories', 'drop table', '1st', 'a-b', 'é', 'x'.repeat(64)],
  MEMORY_REFLECTIONS_TABLE: ['table name', 'a;b', '"quoted"'],
  MEMORY_REDIS_TIMEOUT_MS: ['100 to 600000', '99', '600001'],
  MEMORY_REDIS_MAX_USED_PERCENT: ['1 to 100', '0', '101', '90%'],
  MEMORY_SUPABASE_TIMEOUT_MS: ['100 to 600000', '99', '600001'],
  MEMORY_IPFS_TIMEOUT_MS: ['100 to 600000', '99', '600001'],
  MEMORY_SHUTDOWN_TIMEOUT_MS: ['100 to 600000', '99', '600001'],
  MEMORY_WORKER_CONCURRENCY: ['1 to 1000', '0', '1001'],
  MEMORY_HEALTH_HOST: ['address or a host name', 'http://0.0.0.0', '127.0.0.1:3000', 'a b', '*', '[::1]', '../x'],
  MEMORY_DASHBOARD_HOST: ['address or a host name', '0.0.0.0/0', '-'],
  MEMORY_HEALTH_PORT: ['0 to 65535', '-1', '65536', 'http'],
  MEMORY_DASHBOARD_PORT: ['0 to 65535', '-1', '65536'],
  MEMORY_DASHBOARD_READ_ONLY: ['true or false', 'yes', '1', 'TRUE'],
  MEMORY_DASHBOARD_SHOW_TEXT: ['true or false', 'no', '0', 'False'],
  MEMORY_MCP_HOST: ['address or a host name', 'http://0.0.0.0', '*'],
  MEMORY_MCP_PORT: ['0 to 65535', '-1', '65536'],
  MEMORY_WEBHOOK_URL: ['http', 'ftp://hook.example', 'hook.example', 'https://'],
  MEMORY_REFLECTOR_URL: ['http', 'ftp://reflect.example', 'reflect.example', 'https://'],
  MEMORY_REFLECTOR_SECRET: ['whsec_', 'whsec_', 'whsec_c2hvcnQ=', 'c2VjcmV0LXdpdGhvdXQtaXRzLXByZWZpeC0xMjM='],
  MEMORY_REFLECTOR_TIMEOUT_MS: ['a whole number of ms from 100 to 600000', '99', '600001', '1e3'],
  MEMORY_REFLECTOR_EVERY_TURNS: ['a whole number of turns from 0 to 1000000; 0 is never', '-1', '1000001', 'many'],
  MEMORY_REFLECTOR_IDLE_MS: ['a whole number of ms from 0 to 2592000000; 0 is never', '-1', '2592000001', '1d'],
  MEMORY_REFLECTOR_MAX_TOKENS: ['a whole number of tokens from 1 to 10000000', '0', '10000001', '4k'],
  MEMORY_WEBHOOK_SECRET: ['whsec_', 'whsec_', 'whsec_c2hvcnQ=', 'c2VjcmV0LXdpdGhvdXQtaXRzLXByZWZpeC0xMjM='],
  OTEL_EXPORTER_OTLP_ENDPOINT: ['http', 'localhost:4318', 'grpc://collector:4317', 'http://collector:4318?key=x'],
  MEMORY_LOG_LEVEL: ['debug', 'verbose', 'INFO'],
};

/** Any text will do for these. */
const FREE_TEXT = ['MNEMOQ_DATA_DIR'];

/** What is thrown, which must be a refusal of the configuration. */
function thrownBy(act: () => unknown): MnemoqError {
  try {
    act();
  } catch (error) {
    if (error instanceof MnemoqError && error.code === 'invalid_configuration') return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** The message of the refusal. */
function refusal(environment: Environment, needed: Parameters<typeof loadConfig>[1] = []): string {
  return thrownBy(() => loadConfig(environment, needed)).message;
}

test('every variable is in the table of wrong values, unless any text will do', () => {
  expect([...Object.keys(WRONG), ...FREE_TEXT].toSorted()).toEqual(Object.values(VARIABLE_NAMES).toSorted());
});

const wrongCases = Object.entries(WRONG).flatMap(([name, [expected, ...values]]) =>
  values.map((value) => [name, value, expected] as const),
);

test.each(wrongCases)('%s=%j is refused', (name, value, expected) => {
  const [, line = '', ...rest] = refusal({ [name]: value }).split('\n  ');
  expect(rest).toEqual([]);
  expect(line).toMatch(new RegExp(`^${name}: expected .*${expected}.*, found `));
  // A secret is told by its length alone.
  const found = /KEYS?$|SECRET$|REDIS_URL|WEBHOOK_URL|REFLECTOR_URL/.test(name)
    ? `a value of ${value.length} characters`
    : JSON.stringify(value);
  expect(line.endsWith(`, found ${found}`)).toBe(true);
});

test('the password in a misspelled URL is not shown', () => {
  const message = refusal({ SUPABASE_URL: 'htp://me:hunter2@db', IPFS_API_URL: 'ws://me:hun@ter2@ipfs:5001/x' });
  expect(message).not.toMatch(/hun|ter2/);
  expect(message).toContain('SUPABASE_URL: expected an http:// or https:// URL, found "htp://***@db"');
});

test('everything that is wrong or missing is told at once, a line each', () => {
  const wrong = Object.fromEntries(wrongCases.map(([name, value]) => [name, value]));
  const { REDIS_URL: _unset, ...others } = wrong;
  const names = refusal(others, STORE_SETTINGS)
    .split('\n  ')
    .slice(1)
    .map((line) => line.split(':')[0] ?? '');
  expect(names.toSorted()).toEqual(Object.keys(WRONG).toSorted());
});

test('a worker is told of everything at once, also of what it needs only for what another variable says', async () => {
  const environment = { MEMORY_TEXT_CACHE: 'none', MEMORY_SHORT_TERM_LIMIT: '0', SUPABASE_URL: 'http://x' };
  const error: unknown = await startWorker('chat', environment).catch((refused: unknown) => refused);
  const names = (error as Error).message.split('\n  ').slice(1);
  expect(names.map((line) => line.split(':')[0])).toEqual([
    'REDIS_URL',
    'SUPABASE_SERVICE_ROLE_KEY',
    'MEMORY_SHORT_TERM_LIMIT',
    'MEMORY_TEXT_CACHE',
    'MEMORY_ENCRYPTION_KEYS',
  ]);
});

test.each<[name: string, environment: unknown, line: string]>([
  ['null', null, 'the environment: expected an object of variables, found null'],
  [
    'a text',
    'REDIS_URL=redis://h',
    'the environment: expected an object of variables, found a string of 19 characters',
  ],
  ['a number', { MEMORY_SHORT_TERM_LIMIT: 5 }, 'MEMORY_SHORT_TERM_LIMIT: expected .*, found a value of type number'],
  ['zero', { MEMORY_HEALTH_PORT: 0 }, 'MEMORY_HEALTH_PORT: expected .*, found a value of type number'],
  ['false', { MEMORY_ENCRYPT_TOKENS: false }, 'MEMORY_ENCRYPT_TOKENS: expected .*, found a value of type boolean'],
  [
    'a URL that is an object',
    { SUPABASE_URL: new URL('http://me:hunter2@x') },
    'SUPABASE_URL: .*, found a value of type object',
  ],
  [
    'a key that is bytes',
    { MEMORY_SIGNING_KEY: Buffer.alloc(32) },
    'MEMORY_SIGNING_KEY: .*, found a value of type object',
  ],
  ['nothing at all', {}, 'REDIS_URL: expected .*, found nothing'],
])('a MemoryCore for %s is not made', (_name, environment, line) => {
  const error = thrownBy(() => void new MemoryCore(environment as never).close());
  expect(error.message).toMatch(new RegExp(`\\n {2}${line}(\\n|$)`));
  expect(error.message).not.toContain('hunter2');
});

describe('.env', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-env-'));
  const before = process.cwd();
  afterAll(() => rmSync(dir, { recursive: true }));

  /** What is read in a folder with this file; the folder of this process is what it was afterwards. */
  function reading(content: string | Buffer | null): Environment {
    const file = path.join(dir, '.env');
    rmSync(file, { recursive: true, force: true });
    if (content === null) mkdirSync(file);
    else writeFileSync(file, content);
    process.chdir(dir);
    try {
      return readEnvironment();
    } finally {
      process.chdir(before);
    }
  }

  test.each<[name: string, content: string | Buffer, line: number]>([
    ['no equals sign', '# all of it\n\nMEMORY_SHORT_TERM_LIMIT 5\n', 3],
    ['a colon and no space', 'SUPABASE_URL:hunter2', 1],
    ['an export of nothing', 'A=1\r\nexport REDIS_URL\r\n', 2],
    ['a hyphen too many', 'A="1\n2"\n- MEMORY_SIGNING_KEY=hunter2', 3],
    ['UTF-16', Buffer.from('\uFEFFREDIS_URL=redis://h\n', 'utf16le'), 1],
    ['NUL', 'REDIS_URL\0=redis://h', 1],
  ])('with %s is refused, naming the line', (_name, content, line) => {
    const { message } = thrownBy(() => reading(content));
    expect(message).toMatch(new RegExp(`\\.env, line ${line}: expected NAME=value in UTF-8, found`));
    expect(message).not.toContain('hunter2');
  });

  test.each<[name: string, content: string | null]>([
    ['that is a folder', null],
    ['that is empty', ''],
    ['of comments', '# REDIS_URL redis://x\n   # MEMORY_\n'],
    ['with lines that are others’ matter', 'FOO\nsource other.env\nexport PATH\n'],
  ])('%s says nothing', (_name, content) => {
    expect(reading(content)['MEMORY_FLUSH_TZ']).toBeUndefined();
  });

  test.each([
    ['Windows line ends and a byte order mark', '\uFEFFMEMORY_FLUSH_TZ=Asia/Taipei\r\nA=1\r\n'],
    [
      'a value over several lines before it',
      `KEY="-----BEGIN\nMEMORY_FLUSH_TZ no\n-----END"\nMEMORY_FLUSH_TZ=Asia/Taipei`,
    ],
    ['export, spaces, quotes and a comment', `  export MEMORY_FLUSH_TZ = 'Asia/Taipei' # where we are`],
    ['a colon', 'MEMORY_FLUSH_TZ: Asia/Taipei'],
    ['the same name twice', 'MEMORY_FLUSH_TZ=UTC\nMEMORY_FLUSH_TZ=Asia/Taipei'],
  ])('with %s is read', (_name, content) => {
    expect(reading(content)['MEMORY_FLUSH_TZ']).toBe('Asia/Taipei');
  });
});
