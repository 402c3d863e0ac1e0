import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

interface Finding {
  name: string;
  ok: boolean;
  detail: string;
  mend: string | null;
}

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterEach(() => {
  stack.proxy.fault = () => null;
});
afterAll(() => stack.stop());

async function doctor(environment: Record<string, string> = {}) {
  const { code, stdout } = await runCommand(['doctor', '--json'], {
    environment: { ...stack.environment, ...environment },
  });
  const { ok: isWell, checks: findings } = JSON.parse(stdout) as { ok: boolean; checks: Finding[] };
  expect(isWell).toBe(code === 0);
  return { code, findings, wrong: findings.filter(({ ok }) => !ok) };
}

const answerSchemaVersion = (status: number, body: unknown) => {
  stack.proxy.fault = ({ url }) => (url.includes('mnemoq_schema_version') ? { status, body: body as object } : null);
};

test('a complete installation is well, and says what it has looked at', async () => {
  const { code, findings } = await doctor();
  expect([code, findings.map(({ name, ok, mend }) => [name, ok, mend])]).toEqual([
    0,
    [
      'configuration',
      'Redis',
      'Redis eviction',
      'Redis AOF',
      'Supabase',
      'schema',
      'search',
      'IPFS',
      'encryption',
      'signing',
    ].map((what) => [what, true, null]),
  ]);
});

test.each<[name: string, environment: Record<string, string>, what: string, found: RegExp, mend: RegExp]>([
  ['Redis is away', { REDIS_URL: 'redis://127.0.0.1:1' }, 'Redis', /ECONNREFUSED 127\.0\.0\.1:1/, /REDIS_URL/],
  [
    'the key is wrong',
    { SUPABASE_SERVICE_ROLE_KEY: 'sb_secret_of_nobody' },
    'Supabase',
    /refused the key/,
    /_ROLE_KEY/,
  ],
  ['Supabase is away', { SUPABASE_URL: 'http://127.0.0.1:1' }, 'Supabase', /does not answer/, /SUPABASE_URL/],
  ['a table is missing', { MEMORY_MEMORIES_TABLE: 'nowhere' }, 'Supabase', /missing/, /apply .*_mnemoq\.sql/],
  ['IPFS is away', { IPFS_API_URL: 'http://127.0.0.1:1' }, 'IPFS', /fetch failed/, /IPFS_API_URL/],
  ['IPFS is not set', { IPFS_API_URL: '' }, 'IPFS', /IPFS_API_URL is not set/, /IPFS_API_URL=http/],
  ['there are no keys', { MEMORY_ENCRYPTION_KEYS: '' }, 'encryption', /not set/, /openssl rand/],
  ['nothing signs', { MEMORY_SIGNING_KEY: '' }, 'signing', /not set/, /openssl rand/],
  ['Redis is not set', { REDIS_URL: '' }, 'configuration', /REDIS_URL: expected/, /\.env\.example/],
])('%s: it says so, how to mend it, and ends with 1', async (_name, environment, what, found, mend) => {
  const { code, wrong } = await doctor(environment);
  expect([code, wrong]).toEqual([
    1,
    [{ name: what, ok: false, detail: expect.stringMatching(found), mend: expect.stringMatching(mend) }],
  ]);
});

test.each([
  ['missing', 404, { code: 'PGRST202', message: 'Could not find the function' }, /missing/],
  ['older', 200, 0, /version 0, this Mnemoq needs 1/],
])('a schema that is %s has to be migrated', async (_name, status, body, found) => {
  answerSchemaVersion(status, body);
  expect(await doctor()).toMatchObject({
    code: 1,
    wrong: [
      { name: 'schema', detail: expect.stringMatching(found), mend: expect.stringMatching(/apply .*_mnemoq\.sql/) },
    ],
  });
});

test.each([
  ['evicts', 'maxmemory-policy', 'allkeys-lru', 'Redis eviction', /config set maxmemory-policy noeviction/],
  ['keeps no append-only file', 'appendonly', 'no', 'Redis AOF', /config set appendonly yes/],
  ['wants a password', 'requirepass', 'secret', 'Redis', /password into REDIS_URL/],
])('a Redis that %s', async (_name, setting, value, what, mend) => {
  const [, before = ''] = await stack.client.config('GET', setting);
  await stack.client.config('SET', setting, value);
  try {
    expect(await doctor()).toMatchObject({ code: 1, wrong: [{ name: what, mend: expect.stringMatching(mend) }] });
  } finally {
    await stack.client.config('SET', setting, before);
    // Redis does not end while it writes the append-only file that it keeps again.
    await eventually(async () =>
      /aof_rewrite_in_progress:0\s[^]*aof_rewrite_scheduled:0\s/.test(await stack.client.info('persistence')),
    );
  }
});

test('for people it puts the way to mend it under what is wrong', async () => {
  const environment = { ...stack.environment, MEMORY_SIGNING_KEY: '' };
  const { code, stdout, stderr } = await runCommand(['doctor'], { environment });
  expect([code, stderr]).toEqual([1, '']);
  expect(stdout).toMatch(/^✓ configuration {2}complete\n✓ Redis {10}version \d/);
  expect(stdout).toMatch(/\n✗ signing {8}MEMORY_SIGNING_KEY is not set\n {2}→ MEMORY_SIGNING_KEY="\$\(openssl .*\n$/);
});
