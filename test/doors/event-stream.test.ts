import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { type Api, startApi } from '../../doors/http/server.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';

let stack: Stack;
let api: Api;
let headers: Record<string, string>;
const KEYS = { service: 'service-secret-0123456789', alice: 'alice-secret-0123456789' };

beforeEach(async () => {
  stack = await startStack({
    environment: { MEMORY_API_PORT: '0', MEMORY_API_KEYS: `s:${KEYS.service},a@alice:${KEYS.alice}` },
  });
  api = await startApi(stack.environment, '0.0.0');
  headers = { authorization: `Bearer ${KEYS.service}` };
});
afterEach(async () => {
  await api.stop();
  await stack.stop();
});

/** A client of the stream; `lastId` is what a browser would send when it connects again. */
async function connect(query = '', more: Record<string, string> = {}) {
  const stopping = new AbortController();
  const response = await fetch(`${api.url}/memory/events${query}`, {
    headers: { ...headers, ...more },
    signal: stopping.signal,
  });
  const messages: EventSourceMessage[] = [];
  const ids: string[] = [];
  const parser = createParser({ onEvent: (message) => messages.push(message) });
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      const text = decoder.decode(chunk, { stream: true });
      parser.feed(text);
      ids.push(...[...text.matchAll(/^id: ?(.+)$/gm)].map(([, id = '']) => id));
    }
  })().catch(() => undefined);
  const data = () => messages.map((message) => JSON.parse(message.data));
  return { response, messages, ids, data, reading, stop: () => stopping.abort() };
}

test('goes on after Last-Event-ID over a restart of the server, without loss or repeat', async () => {
  await stack.startWorkers('chat');
  const contextId = stack.newContextId();
  const first = await connect();
  expect(first.response.headers.get('content-type')).toBe('text/event-stream');
  const ids = idsOf(await stack.memory.saveChats(turns(contextId, 10)));
  await eventually(() => first.messages.length === 10);
  await api.stop(); // ends the stream, and does not wait for it
  await first.reading;
  ids.push(...idsOf(await stack.memory.saveChats(turns(contextId, 10, 10))));
  api = await startApi(stack.environment, '0.0.0');
  const second = await connect('?cursor=0', { 'last-event-id': first.messages.at(-1)?.id ?? '' });
  await eventually(() => second.messages.length === 10);
  const told = [...first.data(), ...second.data()];
  expect(new Set(told.map(({ data }) => data.id))).toEqual(new Set(ids));
  expect(told).toHaveLength(ids.length);
  expect(told[0].data).toMatchObject({ context_id: contextId, user_id: 'user-1', module: 'chat' });
  second.stop();
  await second.reading;
});

test('gives the types asked for, and a user only what is theirs', async () => {
  await stack.startWorkers('chat', 'flush');
  const contextId = stack.newContextId();
  const committed = await connect('?types=records.committed');
  const alice = await connect('?cursor=0', { authorization: `Bearer ${KEYS.alice}` });
  await stack.memory.saveChats(turns(contextId, 4).map((each, n) => ({ ...each, userId: n % 2 ? 'alice' : 'bob' })));
  await stack.idle('chat');
  await stack.memory.flushRedisToSupabase();
  await eventually(() => committed.messages.length === 1 && alice.messages.length === 3);
  expect(committed.messages[0]?.event).toBe('records.committed');
  expect(JSON.stringify(alice.data())).not.toContain('bob');
  for (const each of [committed, alice]) each.stop();
  await Promise.all([committed.reading, alice.reading]);
});

test('a user for whom there was nothing for long has missed nothing when he comes back', async () => {
  await stack.startWorkers('chat');
  const authorization = `Bearer ${KEYS.alice}`;
  const alice = await connect('', { authorization });
  const contextId = stack.newContextId();
  for (const part of [0, 1, 2]) await stack.memory.saveChats(turns(contextId, 1000, 1000 * part));
  await stack.idle('chat');
  await eventually(() => alice.ids.length >= 3); // where it began, and twice where it had come to
  alice.stop();
  await alice.reading;
  expect(alice.messages).toEqual([]);
  await stack.client.xtrim('memory:events', 'MAXLEN', 2000);
  await stack.memory.saveChat(turn(contextId, 1, { userId: 'alice' }), { wait: true });
  const comesBack = async (lastId: string) => {
    const again = await connect('', { authorization, 'last-event-id': lastId });
    await eventually(() => again.messages.some(({ event }) => event === 'record.cached'));
    again.stop();
    await again.reading;
    return again.messages.map(({ event }) => event);
  };
  expect(await comesBack(alice.ids.at(-1) ?? '')).toEqual(['record.cached']);
  expect(await comesBack(alice.ids[0] ?? '')).toEqual(['events.missed', 'record.cached']);
});

test.each([
  ['?types=other', {}, 400],
  ['?cursor=x', {}, 400],
  ['', { 'last-event-id': 'x' }, 400],
  ['?user_id=bob', { authorization: `Bearer ${KEYS.alice}` }, 403],
  ['', { authorization: 'Bearer wrong' }, 401],
])('refuses %s %j', async (query, more, status) => {
  const refused = await connect(query, more);
  expect(refused.response.status).toBe(status);
  expect(refused.response.headers.get('content-type')).toContain('problem+json');
});
