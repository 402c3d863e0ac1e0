/**
 * **test/http/**: the HTTP API: every operation, who may call it, what is refused and how it is told.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { type Api, startApi } from '../../doors/http/server.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const ALICES = 'alices-key-0123456789';
let stack: Stack;
let api: Api;
let service: string;
beforeAll(async () => {
  stack = await startStack({ environment: { MEMORY_API_PORT: '0' } });
  service = (stack.environment['MEMORY_API_KEYS'] ?? '').split(':')[1] ?? '';
  await stack.startWorkers();
  const keys = `${stack.environment['MEMORY_API_KEYS']},web@alice:${ALICES}`;
  api = await startApi({ ...stack.environment, MEMORY_API_KEYS: keys }, '1.0.0');
});
afterAll(async () => {
  await api.stop();
  await stack.stop();
});

async function ask(method: string, path: string, key: string | null, body?: object, headers = {}) {
  const response = await fetch(new URL(path, api.url), {
    method,
    headers: {
      ...(key !== null && { authorization: `Bearer ${key}` }),
      ...(body && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

test('a turn is saved, waited for, read by its user and by no other, and exported', async () => {
  const context_id = stack.newContextId();
  const body = { context_id, user_id: 'bob', user_message: 'x', assistant_message: 'y' };
  const saved = await ask('POST', '/memory/chat', service, body, { prefer: 'wait=20' });
  expect([saved.status, saved.headers.get('preference-applied')]).toEqual([200, 'wait=20']);
  const { id } = JSON.parse(saved.text) as { id: string };
  const context = `/memory/context/${encodeURIComponent(context_id)}`;
  expect(JSON.parse((await ask('GET', context, service)).text).items).toHaveLength(1);
  expect(JSON.parse((await ask('GET', context, ALICES)).text).items).toEqual([]);
  for (const path of [`/memory/records/${id}`, `/memory/records/${id}/status`]) {
    expect([path, (await ask('GET', path, service)).status]).toEqual([path, 200]);
    expect([path, (await ask('GET', path, ALICES)).status]).toEqual([path, 404]);
  }
  expect((await ask('GET', `${context}?user_id=bob`, ALICES)).status).toBe(403);
  expect((await ask('POST', '/memory/chat', ALICES, body)).status).toBe(403);
  expect((await ask('POST', '/memory/flush', service)).status).toBe(200);
  const query = `context_id=${encodeURIComponent(context_id)}&format=openai`;
  expect((await ask('GET', `/memory/export?${query}`, service)).text.split('\n')).toHaveLength(2);
  expect((await ask('GET', `/memory/export?${query}`, ALICES)).text).toBe('');
});

test.each(['/memory/stats', '/memory/context/a', '/memory/export?format=openai'])('%s wants a key', async (path) => {
  for (const key of [null, 'wrong']) {
    const { status, headers, text } = await ask('GET', path, key);
    expect([status, headers.get('content-type'), JSON.parse(text).code]).toEqual([
      401,
      expect.stringContaining('application/problem+json'),
      'unauthorized',
    ]);
  }
});

test('the document lints clean', async () => {
  const source = (await ask('GET', '/docs/json', null)).text;
  const config = await createConfig({ extends: ['recommended'] });
  const found = await lintFromString({ source, absoluteRef: 'openapi.json', config });
  expect(found.map(({ ruleId, message, location }) => [ruleId, message, location[0]?.pointer])).toEqual([]);
});
