/**
 * **test/doors/**: who gets in, the dashboard, the memory page, MCP, and what listeners are told. The HTTP API has a folder of
 * its own, `test/http/`.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import {
  type AuthConfig,
  Authenticator,
  requireKeysBeyondLoopback,
  requireService,
  userFor,
} from '../../doors/web/auth.ts';
import { type Environment, loadConfig } from '../../shared/settings/config.ts';
import { claims, hs256Token, type KeyServer, startKeyServer, unsignedToken } from '../support/clients/user-tokens.ts';

const [OPS, OLD_OPS, ALICES, JWT_SECRET] = [1, 2, 3, 4].map(() => randomBytes(32).toString('base64url')) as [
  string,
  string,
  string,
  string,
];
const KEYS = `ops:${OPS},ops:${OLD_OPS},web@${encodeURIComponent('alice:字@')}:${ALICES}`;
const ALICE = randomUUID();

const config = (environment: Environment): AuthConfig => loadConfig(environment, []);
const basic = (name: string, secret: string) => `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`;
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

let keyServer: KeyServer;
beforeAll(async () => {
  keyServer = await startKeyServer();
});
afterAll(() => keyServer.stop());

describe('API keys', () => {
  const authenticator = new Authenticator(config({ MEMORY_API_KEYS: KEYS }));
  const service = { name: 'ops', userId: null };
  const alice = { name: 'web', userId: 'alice:字@' };

  test.each([
    [`Bearer ${OPS}`, service],
    [`bearer  ${OLD_OPS}`, service],
    [basic('ops', OPS), service],
    [basic('ops', OLD_OPS), service],
    [`Bearer ${ALICES}`, alice],
    [basic('web', ALICES), alice],
  ])('%s is known', async (authorization, caller) => {
    expect(await authenticator.authenticate(authorization)).toEqual(caller);
  });

  test.each([
    undefined,
    '',
    OPS,
    'Bearer',
    'Bearer ',
    `Bearer ${OPS}x`,
    `Bearer ${OPS.slice(1)}`,
    `Bearer ${OPS.toUpperCase()}`,
    `Bearer ops:${OPS}`,
    `Bearer ${OPS} ${OPS}`,
    `Digest ${OPS}`,
    `Basic ${OPS}`,
    basic('web', OPS),
    basic('', OPS),
    basic('OPS', OPS),
    basic('ops', ''),
    basic('ops', 'undefined'),
    'Basic !!!',
    'Bearer a.b.c',
    `Bearer ${unsignedToken(claims(ALICE))}`,
  ])('%j is not', async (authorization) => {
    expect(await authenticator.authenticate(authorization, 'localhost')).toBeNull();
  });
});

describe("Supabase users' tokens", () => {
  const subject = (environment: Environment) => new Authenticator(config(environment));
  const both = () => subject({ SUPABASE_JWT_SECRET: JWT_SECRET, SUPABASE_JWKS_URL: keyServer.url });
  const alice = { name: 'supabase', userId: ALICE };

  test('signed with the secret, or with a key of the project', async () => {
    for (const token of [
      await hs256Token(JWT_SECRET, claims(ALICE.toUpperCase())),
      await hs256Token(JWT_SECRET, claims(ALICE, { aud: ['other', 'authenticated'] })),
      await keyServer.sign(claims(ALICE)),
    ]) {
      expect(await both().authenticate(`Bearer ${token}`)).toEqual(alice);
      expect(await both().authenticate(basic('supabase', token))).toBeNull();
    }
  });

  const refused: [name: string, token: () => Promise<string> | string][] = [
    ['has expired', () => hs256Token(JWT_SECRET, claims(ALICE, { exp: inSeconds(-60) }))],
    ['is not valid yet', () => hs256Token(JWT_SECRET, claims(ALICE, { nbf: inSeconds(60) }))],
    ['never expires', () => hs256Token(JWT_SECRET, { ...claims(ALICE), exp: undefined } as never)],
    ['is for others', () => hs256Token(JWT_SECRET, claims(ALICE, { aud: 'other' }))],
    ['is for nobody', () => hs256Token(JWT_SECRET, { ...claims(ALICE), aud: undefined } as never)],
    ['is the service_role key', () => hs256Token(JWT_SECRET, { role: 'service_role', exp: inSeconds(60) })],
    ['is of service_role with a user', () => hs256Token(JWT_SECRET, claims(ALICE, { role: 'service_role' }))],
    ['is the anon key', () => hs256Token(JWT_SECRET, claims(ALICE, { role: 'anon' }))],
    ['has no role', () => hs256Token(JWT_SECRET, claims(ALICE, { role: undefined }))],
    ['names nobody', () => hs256Token(JWT_SECRET, { ...claims(ALICE), sub: undefined } as never)],
    ['names no user of Supabase', () => hs256Token(JWT_SECRET, claims('alice'))],
    ['is signed with another secret', () => hs256Token(OPS, claims(ALICE))],
    ['is signed with the secret by another algorithm', () => hs256Token(JWT_SECRET.repeat(2), claims(ALICE), 'HS512')],
    ['is signed with the public key as secret', () => hs256Token(keyServer.publicPem, claims(ALICE))],
    ['is signed by nobody', () => unsignedToken(claims(ALICE))],
    ['is signed by NONE', () => unsignedToken(claims(ALICE), 'NONE')],
    ['says HS256 and is not signed', () => unsignedToken(claims(ALICE), 'HS256')],
    ['says ES256 and is not signed', () => unsignedToken(claims(ALICE), 'ES256')],
    ['is half', async () => (await keyServer.sign(claims(ALICE))).slice(0, -20)],
    ['has expired (project key)', () => keyServer.sign(claims(ALICE, { exp: inSeconds(-60) }))],
    ['is for others (project key)', () => keyServer.sign(claims(ALICE, { aud: 'other' }))],
  ];
  test.each(refused)('one that %s is refused', async (_name, token) => {
    expect(await both().authenticate(`Bearer ${await token()}`)).toBeNull();
  });

  test('each kind only where its key is configured', async () => {
    const bySecret = `Bearer ${await hs256Token(JWT_SECRET, claims(ALICE))}`;
    const byKey = `Bearer ${await keyServer.sign(claims(ALICE))}`;
    expect(await subject({ SUPABASE_JWT_SECRET: JWT_SECRET }).authenticate(byKey)).toBeNull();
    expect(await subject({ SUPABASE_JWKS_URL: keyServer.url }).authenticate(bySecret)).toBeNull();
    expect(await subject({ MEMORY_API_KEYS: KEYS }).authenticate(bySecret)).toBeNull();
  });

  test.each([500, 404])('where the keys answer with %i nobody is refused, and nobody let in', async (status) => {
    const authenticator = subject({ SUPABASE_JWKS_URL: keyServer.url });
    const authorization = `Bearer ${await keyServer.sign(claims(ALICE))}`;
    keyServer.answerWith(status);
    await expect(authenticator.authenticate(authorization)).rejects.toMatchObject({ code: 'supabase_unavailable' });
    keyServer.answerWith(200);
    expect(await authenticator.authenticate(authorization)).toEqual(alice);
  });
});

describe('without keys', () => {
  test.each(['localhost', 'LOCALHOST:3000', '127.0.0.1', '127.0.0.1:80', '127.1.2.3', '[::1]:3000', '[::1]'])(
    'a request for %s is a service',
    async (host) => {
      expect(await new Authenticator(config({})).authenticate(undefined, host)).toEqual({
        name: 'local',
        userId: null,
      });
    },
  );

  test.each([
    undefined,
    '',
    'evil.example',
    'localhost.evil.example',
    'evil.example:3000',
    '127.0.0.1.evil.example',
    '127.evil.example',
    'localhost:3000@evil.example',
    'localhost\n',
    '0.0.0.0',
    '10.0.0.1',
  ])('one for %j is refused', async (host) => {
    expect(await new Authenticator(config({})).authenticate(undefined, host)).toBeNull();
  });

  test.each(['127.0.0.1', 'localhost', '::1'])('a server may listen on %s', (host) => {
    expect(() => requireKeysBeyondLoopback(config({}), 'MEMORY_API_HOST', host)).not.toThrow();
  });

  test.each(['0.0.0.0', '::', '192.168.0.1', 'db.example'])('a server may not listen on %s', (host) => {
    expect(() => requireKeysBeyondLoopback(config({}), 'MEMORY_API_HOST', host)).toThrow(
      expect.objectContaining({
        code: 'invalid_configuration',
        message: expect.stringMatching(`MEMORY_API_HOST: expected a loopback address, .*MEMORY_API_KEYS.*"${host}"`),
      }),
    );
    for (const [name, value] of [
      ['MEMORY_API_KEYS', KEYS],
      ['SUPABASE_JWT_SECRET', JWT_SECRET],
      ['SUPABASE_JWKS_URL', 'http://x'],
    ] as const) {
      expect(() => requireKeysBeyondLoopback(config({ [name]: value }), 'MEMORY_API_HOST', host)).not.toThrow();
    }
  });
});

describe('keys read anew', () => {
  const lines: string[] = [];
  const logger = pino({}, { write: (line: string) => lines.push(line) });

  test('replace the old ones, and no secret is logged', async () => {
    const authenticator = new Authenticator(config({ MEMORY_API_KEYS: `ops:${OPS}` }));
    authenticator.reload(() => ({ MEMORY_API_KEYS: `new:${OLD_OPS},web@b:${ALICES}` }), logger);
    expect(await authenticator.authenticate(`Bearer ${OPS}`)).toBeNull();
    expect(await authenticator.authenticate(`Bearer ${OLD_OPS}`)).toEqual({ name: 'new', userId: null });
    expect(await authenticator.authenticate(`Bearer ${ALICES}`)).toEqual({ name: 'web', userId: 'b' });
    expect(lines.join('')).not.toMatch(new RegExp([OPS, OLD_OPS, ALICES].join('|')));
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ level: 30, keys: ['new', 'web'] });
  });

  test.each<[name: string, read: () => Environment]>([
    ['wrong ones', () => ({ MEMORY_API_KEYS: `new:short` })],
    ['a wrong environment', () => ({ MEMORY_API_KEYS: `new:${OLD_OPS}`, MEMORY_API_PORT: '-1' })],
    ['none', () => ({})],
    [
      'a file that cannot be read',
      () => {
        throw new Error('no such file');
      },
    ],
  ])('%s change nothing and are logged', async (_name, read) => {
    const authenticator = new Authenticator(config({ MEMORY_API_KEYS: `ops:${OPS}` }));
    authenticator.reload(read, logger);
    expect(await authenticator.authenticate(`Bearer ${OPS}`)).toEqual({ name: 'ops', userId: null });
    expect(await authenticator.authenticate(undefined, 'localhost')).toBeNull();
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ level: 50 });
  });
});

test('a service may name any user, a bound caller only its own', () => {
  const service = { name: 'ops', userId: null };
  const alice = { name: 'web', userId: 'alice' };
  expect([userFor(service, undefined), userFor(service, 'bob')]).toEqual([undefined, 'bob']);
  expect([userFor(alice, undefined), userFor(alice, 'alice')]).toEqual(['alice', 'alice']);
  for (const other of ['bob', 'Alice', '']) {
    expect(() => userFor(alice, other)).toThrow(expect.objectContaining({ code: 'forbidden' }));
  }
  expect(() => requireService(service)).not.toThrow();
  expect(() => requireService(alice)).toThrow(expect.objectContaining({ code: 'forbidden' }));
});
