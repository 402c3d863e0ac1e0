import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startRedis } from '../embedded/redis.ts';
import { type Environment, loadConfig, STORE_SETTINGS, VARIABLE_NAMES } from '../shared/config.ts';
import { MnemoqError } from '../shared/errors.ts';
import { startWorker } from '../workers/worker.ts';

const MAIN = path.join(import.meta.dirname, '../cli/main.ts');
const PROCESS = { encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL' } as const;
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
    'redis://a:7000,b:7000',
    'redis+cluster://',
    'redis+cluster://a:7000,',
    'redis+cluster://a:port',
    'redis+cluster://a:70000',
    'redis+cluster://a:7000/1',
    'redis+cluster://:%zz@a:7000',
  ],
  SUPABASE_URL: ['http', 'ftp://x', 'localhost:54321', '//x', 'redis://x'],
  SUPABASE_SERVICE_ROLE_KEY: ['16 characters', 'short', '123456789012345'],
  IPFS_API_URL: ['http', '/ip4/127.0.0.1/tcp/5001', 'ipfs://x'],
  MEMORY_REDIS_TTL_SECONDS: ['1 to 31536000', '0', '-1', '1.5', '2d', '1e3', '31536001', ' 5'],
  MEMORY_SHORT_TERM_LIMIT: ['1 to 10000', '0', '10001', 'many', '0x10'],
  MEMORY_ENCODING: ['cl100k_base', 'cl100k', 'CL100K_BASE', 'llama'],
  MEMORY_WRITE_MODE: ['batch or immediate', 'now', 'Batch'],
  MEMORY_FLUSH_STRATEGY: ['interval or off-peak', 'offpeak'],
  MEMORY_FLUSH_INTERVAL_MS: ['1000 to 86400000', '999', '86400001', '5m'],
  MEMORY_FLUSH_OFF_PEAK_CRON: ['cron', 'nightly', '61 * * * *', '0 25 * * *', '3', '0 3 * *', '0 0 3 * * * *'],
  MEMORY_FLUSH_TZ: ['time zone', 'Taipei', 'Asia/Nowhere', 'CST+8'],
  MEMORY_FLUSH_BATCH_SIZE: ['1 to 1000', '0', '1001'],
  MEMORY_FLUSH_MAX_PENDING: ['1 to 10000000', '0', '10000001'],
  MEMORY_TEXT_CACHE: ['encrypted, plain or off', 'none', 'true'],
  MEMORY_ENCRYPT_TOKENS: ['true or false', 'yes', '1', 'TRUE'],
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
  MEMORY_API_KEYS: [
    'name:secret',
    'justasecretwithoutname',
    'name:tooshort',
    `a:${SEED},b`,
    `a b:${SEED}`,
    '1234567890',
  ],
  MEMORY_MEMORIES_TABLE: ['table name', 'public.memories', 'drop table', '1st', 'a-b', 'é', 'x'.repeat(64)],
  MEMORY_REFLECTIONS_TABLE: ['table name', 'a;b', '"quoted"'],
  MEMORY_REDIS_TIMEOUT_MS: ['100 to 600000', '99', '600001'],
  MEMORY_REDIS_MAX_USED_PERCENT: ['1 to 100', '0', '101', '90%'],
  MEMORY_SUPABASE_TIMEOUT_MS: ['100 to 600000', '99', '600001'],
  MEMORY_IPFS_TIMEOUT_MS: ['100 to 600000', '99', '600001'],
  MEMORY_SHUTDOWN_TIMEOUT_MS: ['100 to 600000', '99', '600001'],
  MEMORY_WORKER_CONCURRENCY: ['1 to 1000', '0', '1001'],
  MEMORY_HEALTH_PORT: ['0 to 65535', '-1', '65536', 'http'],
  MEMORY_DASHBOARD_PORT: ['0 to 65535', '-1', '65536'],
  MEMORY_LOG_LEVEL: ['debug', 'verbose', 'INFO'],
};

/** Any text will do for these. */
const FREE_TEXT = ['MNEMOQ_DATA_DIR', 'MEMORY_HEALTH_HOST', 'MEMORY_DASHBOARD_HOST'];

/** Values at the edges of what is allowed. */
const RIGHT: [name: string, setting: keyof typeof VARIABLE_NAMES, value: string, read: unknown][] = [
  ['REDIS_URL', 'redisUrl', 'rediss://:p%40ss@[::1]:6380/1', 'rediss://:p%40ss@[::1]:6380/1'],
  ['REDIS_URL', 'redisUrl', 'redis+cluster://a:7000', 'redis+cluster://a:7000'],
  ['REDIS_URL', 'redisUrl', 'rediss+cluster://u:p@a:7000,[::1]', 'rediss+cluster://u:p@a:7000,[::1]'],
  ['MEMORY_REDIS_TTL_SECONDS', 'redisTtlSeconds', '1', 1],
  ['MEMORY_REDIS_TTL_SECONDS', 'redisTtlSeconds', '31536000', 31_536_000],
  ['MEMORY_SHORT_TERM_LIMIT', 'shortTermLimit', '10000', 10_000],
  ['MEMORY_FLUSH_OFF_PEAK_CRON', 'flushOffPeakCron', '30 2 * * 1-5', '30 2 * * 1-5'],
  ['MEMORY_FLUSH_OFF_PEAK_CRON', 'flushOffPeakCron', '@daily', '@daily'],
  ['MEMORY_FLUSH_TZ', 'flushTz', 'Asia/Taipei', 'Asia/Taipei'],
  ['MEMORY_ENCRYPT_TOKENS', 'encryptTokens', 'true', true],
  ['MEMORY_HEALTH_PORT', 'healthPort', '65535', 65_535],
  ['MEMORY_SIGNING_KEY', 'signingKey', SEED, Buffer.alloc(32, 7)],
  ['MEMORY_SIGNING_KEY', 'signingKey', Buffer.alloc(32, 0xff).toString('base64url'), Buffer.alloc(32, 0xff)],
  [
    'MEMORY_ENCRYPTION_KEYS',
    'encryptionKeys',
    `new:${SEED}, old_1:${SEED}`,
    [
      { kid: 'new', key: Buffer.alloc(32, 7) },
      { kid: 'old_1', key: Buffer.alloc(32, 7) },
    ],
  ],
  ['MEMORY_API_KEYS', 'apiKeys', 'bot:0123456789:abcdef', [{ name: 'bot', secret: '0123456789:abcdef' }]],
];

/** The message of the refusal. */
function refusal(environment: Environment, needed: Parameters<typeof loadConfig>[1] = []): string {
  try {
    loadConfig(environment, needed);
  } catch (error) {
    if (error instanceof MnemoqError && error.code === 'invalid_configuration') return error.message;
    throw error;
  }
  return 'nothing was refused';
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
  const found = /KEY|REDIS_URL/.test(name) ? `a value of ${value.length} characters` : JSON.stringify(value);
  expect(line.endsWith(`, found ${found}`)).toBe(true);
});

test.each(RIGHT)('%s (%s) may be %j', (name, setting, value, read) => {
  expect(loadConfig({ [name]: value }, [])[setting]).toEqual(read);
});

test('the password in a misspelled URL is not shown', () => {
  const message = refusal({ SUPABASE_URL: 'htp://me:hunter2@db', IPFS_API_URL: 'ws://me:hun@ter2@ipfs:5001/x' });
  expect(message).not.toMatch(/hun|ter2/);
  expect(message).toContain('SUPABASE_URL: expected an http:// or https:// URL, found "htp://***@db"');
});

const DEFAULTS = {
  redisUrl: undefined,
  supabaseUrl: undefined,
  supabaseServiceRoleKey: undefined,
  ipfsApiUrl: undefined,
  redisTtlSeconds: 172_800,
  shortTermLimit: 100,
  encoding: 'cl100k_base',
  writeMode: 'batch',
  flushStrategy: 'interval',
  flushIntervalMs: 300_000,
  textCache: 'encrypted',
  encryptTokens: false,
  encryptionKeys: undefined,
  signingKey: undefined,
  apiKeys: undefined,
  dataDir: '.mnemoq',
  memoriesTable: 'memories',
  reflectionsTable: 'memory_reflections',
};

test.each([
  ['unset', {}],
  ['empty', Object.fromEntries(Object.values(VARIABLE_NAMES).map((name) => [name, '']))],
])('variables that are %s take the defaults of the design', (_, environment) => {
  expect(loadConfig(environment, [])).toMatchObject(DEFAULTS);
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

test.each([undefined, ''])('what is needed and %j is missing', (value) => {
  const message = refusal({ REDIS_URL: value, SUPABASE_URL: 'http://x' }, STORE_SETTINGS);
  expect(message).toMatch(/\n {2}REDIS_URL: expected a redis.*, found nothing\n/);
  expect(message).toMatch(/\n {2}SUPABASE_SERVICE_ROLE_KEY: expected .*, found nothing$/);
  expect(message).not.toContain('SUPABASE_URL');
});

describe('a worker', () => {
  const connections: number[] = [];
  const server = createServer((socket) => {
    connections.push(socket.remotePort ?? 0);
    socket.destroy();
  });
  let complete: Environment;
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-config-'));

  beforeAll(async () => {
    await once(server.listen(0, '127.0.0.1'), 'listening');
    complete = {
      REDIS_URL: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
      SUPABASE_URL: 'http://127.0.0.1:1',
      SUPABASE_SERVICE_ROLE_KEY: 'sb_secret_0123456789',
      IPFS_API_URL: 'http://127.0.0.1:1',
      MEMORY_SIGNING_KEY: SEED,
      MEMORY_ENCRYPTION_KEYS: `k1:${SEED}`,
      MEMORY_LOG_LEVEL: 'silent',
    };
  });
  afterAll(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });

  test.each([
    ['reflection', 'IPFS_API_URL', {}],
    ['reflection', 'MEMORY_SIGNING_KEY', {}],
    ['reflection', 'MEMORY_ENCRYPTION_KEYS', { MEMORY_TEXT_CACHE: 'off' }],
    ['chat', 'MEMORY_ENCRYPTION_KEYS', {}],
    ['chat', 'MEMORY_ENCRYPTION_KEYS', { MEMORY_TEXT_CACHE: 'off', MEMORY_ENCRYPT_TOKENS: 'true' }],
    ['flush', 'SUPABASE_URL', {}],
  ] as const)('%s without %s does not start, and does not even connect to Redis', async (kind, name, more) => {
    connections.length = 0;
    await expect(startWorker(kind, { ...complete, ...more, [name]: undefined })).rejects.toMatchObject({
      code: 'invalid_configuration',
      message: expect.stringMatching(new RegExp(`:\\n {2}${name}: expected .*, found nothing$`)),
    });
    // The server takes connections in order: this one would come after one the worker had made.
    const last = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await once(last, 'close');
    expect(connections).toHaveLength(1);
  });

  test('chat needs no encryption key when nothing is encrypted', async () => {
    const environment = { MEMORY_TEXT_CACHE: 'off', SUPABASE_URL: 'http://x' };
    await expect(startWorker('chat', environment)).rejects.toMatchObject({
      message: expect.not.stringMatching(/ENCRYPTION/),
    });
  });

  test('as a process ends with code 2 and says why on standard error', () => {
    writeFileSync(path.join(dir, '.env'), 'MEMORY_SHORT_TERM_LIMIT=0\nMEMORY_WORKER_CONCURRENCY=many\n');
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'worker', 'chat'], {
      cwd: dir, // away from the .env and .mnemoq of whoever runs the tests
      env: { ...complete, PATH: process.env['PATH'], MEMORY_SHORT_TERM_LIMIT: '5', MEMORY_SIGNING_KEY: 'se:cret' },
      ...PROCESS,
    });
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/MEMORY_WORKER_CONCURRENCY: expected a whole number from 1 to 1000, found "many"/);
    expect(stderr).toMatch(/MEMORY_SIGNING_KEY: expected .*, found a value of 7 characters/);
    expect(stderr).not.toMatch(/SHORT_TERM_LIMIT|se:cret|\n\s+at /);
    rmSync(path.join(dir, '.env'));
  });

  test('as a process ends with code 2 when its Redis may throw away pending records', async () => {
    const redis = await startRedis(path.join(dir, 'redis'), { args: ['--maxmemory-policy', 'allkeys-lru'] });
    const env = { ...complete, PATH: process.env['PATH'], REDIS_URL: redis.url };
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'worker', 'chat'], { cwd: dir, env, ...PROCESS });
    await redis.stop();
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringMatching(/noeviction, found allkeys-lru/) });
  });
});
