import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Api, startApi } from '../../doors/http/server.ts';
import { OpenApiClient } from '../support/clients/openapi-client.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const TEXT = 'SECRET-TEXT-91fe';
let stack: Stack;
let api: Api;
let client: OpenApiClient;
let key: string;
beforeAll(async () => {
  stack = await startStack({
    environment: { MEMORY_API_PORT: '0', MEMORY_REDIS_TIMEOUT_MS: '1000', MEMORY_CORS_ORIGINS: 'https://app.example' },
  });
  key = (stack.environment['MEMORY_API_KEYS'] ?? '').split(':')[1] ?? '';
  api = await startApi(stack.environment, '1.0.0');
  client = await OpenApiClient.of(api.url);
});
afterAll(async () => {
  await api.stop();
  await stack.stop();
});

const JSON_TYPE = { 'content-type': 'application/json' };
const turn = { context_id: 'c', user_id: 'u', user_message: TEXT, assistant_message: TEXT };

async function send(method: string, path: string, headers: Record<string, string>, body?: string) {
  const authorization = `Bearer ${key}`;
  const init = { method, headers: { authorization, ...headers }, ...(body !== undefined && { body }) };
  const response = await fetch(new URL(path, api.url), init);
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

describe('a body', () => {
  test.each([
    ['without a user', { ...turn, user_id: undefined }, 'user_id'],
    ['with a number for a text', { ...turn, user_message: 7 }, 'user_message'],
    ['with an empty text', { ...turn, assistant_message: '' }, 'assistant_message'],
    ['with a field in camelCase', { ...turn, userMessage: TEXT }, 'userMessage'],
    ['with a day that does not exist', { ...turn, created_at: '2025-02-30T00:00:00Z' }, 'created_at'],
    ['with an id that is none', { ...turn, id: TEXT }, 'id'],
    ['with a context that is too long', { ...turn, context_id: 'x'.repeat(513) }, 'context_id'],
    ['with a text that is too long', { ...turn, user_message: 'x'.repeat(2 * 1024 * 1024 + 1) }, 'user_message'],
    ['that is a list', [turn], 'the body'],
  ])('%s is refused by the name of the field, without its text', async (_name, body, field) => {
    const answer = await client.call('saveChat', { key, body });
    expect(answer).toMatchObject({ status: 400, json: { code: 'invalid_input', problems: [{ field }] } });
    expect(answer.text).not.toContain(TEXT);
    expect(await stack.queue('chat').getJobCounts()).toMatchObject({ waiting: 0 });
  });
});

test.each([
  ['another one in the body', 'a', { idempotency_key: 'b' }],
  ['513 characters', 'x'.repeat(513), {}],
])('the header Idempotency-Key with %s is refused under its own name', async (_name, header, more) => {
  const body = JSON.stringify({ ...turn, ...more });
  const { status, text } = await send('POST', '/memory/chat', { ...JSON_TYPE, 'idempotency-key': header }, body);
  expect([status, JSON.parse(text)]).toMatchObject([400, { problems: [{ field: 'Idempotency-Key' }] }]);
});

test('a time that is not after another one is told as it came', async () => {
  const range = 'from=2026-12-01T00:00:00Z&to=2026-01-01T00:00:00Z';
  const { status, text } = await send('GET', `/memory/trends?${range}&bucket=day`, {});
  const problem = { field: 'to', expected: 'a moment after from', received: '"2026-01-01T00:00:00.000Z"' };
  expect([status, JSON.parse(text)]).toMatchObject([400, { problems: [problem] }]);
});

test.each([
  ['a body that is no JSON', 'POST', '/memory/chat', JSON_TYPE, `{"user_message":"${TEXT}"`, 400],
  ['a body of another type', 'POST', '/memory/chat', { 'content-type': 'text/plain' }, TEXT, 415],
  ['a body of 30 MiB', 'POST', '/memory/chat', JSON_TYPE, `"${'x'.repeat(30 * 1024 * 1024)}"`, 413],
  ['a path nobody knows', 'GET', `/memory/${TEXT}`, {}, undefined, 404],
  ['a method the path has not', 'PUT', '/memory/chat', JSON_TYPE, '{}', 405],
  ['a limit that is no number', 'GET', `/memory/context/c?limit=${TEXT}`, {}, undefined, 400],
  ['a cursor of nobody', 'GET', `/memory/context/c?cursor=${TEXT}`, {}, undefined, 400],
  ['a record id that is none', 'GET', `/memory/records/${TEXT}`, {}, undefined, 400],
  ['a CID that is none', 'GET', `/memory/verify/${TEXT}`, {}, undefined, 400],
  ['a broken percent sign', 'GET', '/memory/context/%zz', {}, undefined, 400],
  [
    'a time zone nobody lives in',
    'GET',
    '/memory/trends?from=2025-01-01T00:00:00Z&to=2025-01-02T00:00:00Z&bucket=day&time_zone=X/Y',
    {},
    undefined,
    400,
  ],
])('%s is a problem', async (_name, method, path, headers, body, status) => {
  const answer = await send(method, path, headers, body);
  expect([answer.status, answer.type]).toEqual([status, expect.stringContaining('application/problem+json')]);
  expect(JSON.parse(answer.text)).toMatchObject({ status, type: expect.stringMatching(/^urn:mnemoq:problem:/) });
  expect(answer.text).not.toContain(TEXT);
});

test('other web pages may ask where MEMORY_CORS_ORIGINS names them, and only there', async () => {
  const preflight = async (origin: string) => {
    const asks = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' };
    const { headers } = await fetch(new URL('/memory/chat', api.url), { method: 'OPTIONS', headers: asks });
    return headers.get('access-control-allow-origin');
  };
  expect(await preflight('https://app.example')).toBe('https://app.example');
  expect(await preflight('https://evil.example')).toBeNull();
});

test('a key may ask so often a minute, and is then told when to come again', async () => {
  const limited = await startApi({ ...stack.environment, MEMORY_RATE_LIMIT_PER_MINUTE: '3' }, '1.0.0');
  try {
    const few = await OpenApiClient.of(limited.url);
    const answers = [];
    for (let n = 0; n < 4; n += 1) answers.push(await few.call('listConversations', { key }));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
    expect(Number(answers[3]?.headers.get('retry-after'))).toBeGreaterThan(0);
  } finally {
    await limited.stop();
  }
});

describe('an outage', () => {
  test('of Supabase is told, and a save goes on without it', async () => {
    stack.proxy.fault = () => ({ status: 503 });
    const read = await client.call('inspect', { key, path: { id: '01a20e49-6f97-765d-a4da-8e939216891c' } });
    expect(read).toMatchObject({ status: 503, json: { code: 'supabase_unavailable' } });
    expect(Number(read.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await client.call('saveChat', { key, body: turn })).status).toBe(202);
    stack.proxy.fault = () => null;
    await stack.queue('chat').drain();
  });

  test('of Redis is told by saves, reads and readiness, and nothing is half done', async () => {
    await stack.redis.stop();
    for (const [id, call] of [
      ['saveChat', { body: turn }],
      ['getMemoryContext', { path: { context_id: 'c' } }],
      ['getStats', {}],
    ] as const) {
      const answer = await client.call(id, { key, ...call });
      expect([id, answer.status, (answer.json as { code: string }).code]).toEqual([id, 503, 'redis_unavailable']);
    }
    const ready = await fetch(new URL('/health/ready', api.url));
    expect(ready.status).toBe(503);
    expect((await fetch(new URL('/health/live', api.url))).status).toBe(200);
  });
});
