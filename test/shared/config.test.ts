import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startRedis } from '../../embedded/redis.ts';
import { type Environment, loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { VARIABLE_NAMES } from '../../shared/settings/variables.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { startWorker } from '../../workers/worker.ts';

const MAIN = path.join(import.meta.dirname, '../../cli/main.ts');
const PROCESS = { encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL' } as const;
const SEED = Buffer.alloc(32, 7).toString('base64');

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
  ['MEMORY_ALLOW_PLAIN_ROWS', 'allowPlainRows', 'true', true],
  ['MEMORY_HEALTH_PORT', 'healthPort', '65535', 65_535],
  ['MEMORY_SIGNING_KEY', 'signingKey', SEED, Buffer.alloc(32, 7)],
  ['MEMORY_SIGNING_KEY', 'signingKey', Buffer.alloc(32, 0xff).toString('base64url'), Buffer.alloc(32, 0xff)],
  // In one spelling, whichever base64 they come in.
  [
    'MEMORY_RETIRED_SIGNING_KEYS',
    'retiredSigningKeys',
    ` ${Buffer.alloc(32, 0xfe).toString('base64')}, ${Buffer.alloc(32, 0xff).toString('base64url')}`,
    [Buffer.alloc(32, 0xfe).toString('base64url'), Buffer.alloc(32, 0xff).toString('base64url')],
  ],
  [
    'MEMORY_ENCRYPTION_KEYS',
    'encryptionKeys',
    `new:${SEED}, old_1:${SEED}`,
    [
      { kid: 'new', key: Buffer.alloc(32, 7) },
      { kid: 'old_1', key: Buffer.alloc(32, 7) },
    ],
  ],
  [
    'MEMORY_API_KEYS',
    'apiKeys',
    'bot:0123456789:abcdef, bot:0123456789abcdef,web@a%3Ab%2C%40:!"#$%&()*+0123456789',
    [
      { name: 'bot', userId: null, secret: '0123456789:abcdef' },
      { name: 'bot', userId: null, secret: '0123456789abcdef' },
      { name: 'web', userId: 'a:b,@', secret: '!"#$%&()*+0123456789' },
    ],
  ],
  [
    'MEMORY_CORS_ORIGINS',
    'corsOrigins',
    'https://a.example, http://[::1]:3000',
    ['https://a.example', 'http://[::1]:3000'],
  ],
  ['MEMORY_RATE_LIMIT_PER_MINUTE', 'rateLimitPerMinute', '0', 0],
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

test.each(RIGHT)('%s (%s) may be %j', (name, setting, value, read) => {
  expect(loadConfig({ [name]: value }, [])[setting]).toEqual(read);
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
