import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { startCli } from '../support/clients/cli.ts';
import { eventually } from '../support/faults/eventually.ts';
import { lapseLocks } from '../support/faults/lapsed-locks.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, turn } from '../support/inputs/turns.ts';
import { kill, startWorkerProcess } from '../support/clients/worker-process.ts';

interface Received {
  headers: Record<string, string>;
  body: string;
}

const SECRET = `whsec_${randomBytes(32).toString('base64')}`;
let stack: Stack;
let server: Server;
let received: Received[];
/** What the endpoint answers next, by how many came before. */
let answer: (count: number) => number;

beforeEach(async () => {
  received = [];
  answer = () => 204;
  server = createServer((request, response) => {
    void (async () => {
      const body = await text(request);
      const status = answer(received.length);
      received.push({ headers: request.headers as Record<string, string>, body });
      response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end();
    })();
  });
  await listen(0);
  stack = await startStack({
    environment: {
      MEMORY_WEBHOOK_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=URLTOKEN`,
      MEMORY_WEBHOOK_SECRET: SECRET,
    },
  });
});
afterEach(async () => {
  await stack.stop();
  server.closeAllConnections();
  server.close();
});

async function listen(port: number): Promise<void> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
}

function verify({ headers, body }: Received): unknown {
  return new Webhook(SECRET).verify(body, headers);
}

test('an event is delivered once, signed so that the library takes it, and not when tampered with or old', async () => {
  await stack.startWorkers('webhook', 'chat');
  const contextId = stack.newContextId();
  const { id } = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
  const one = (await eventually(() => received[0])) as Received;
  expect(verify(one)).toEqual({
    id: one.headers['webhook-id'],
    type: 'record.cached',
    at: expect.any(String),
    data: { id, context_id: contextId, user_id: 'user-1', module: 'chat', token_count: expect.any(Number) },
  });
  expect(one.body).not.toMatch(/question|answer/);
  const stamp = Number(one.headers['webhook-timestamp']);
  const wrong = [
    { ...one, body: one.body.replace('user-1', 'user-2') },
    { ...one, headers: { ...one.headers, 'webhook-id': '1-1' } },
    { ...one, headers: { ...one.headers, 'webhook-timestamp': String(stamp - 400) } },
  ];
  for (const each of wrong) expect(() => verify(each)).toThrow(/No matching signature|too old/);
  const old = new Date((stamp - 400) * 1000);
  const signature = new Webhook(SECRET).sign(one.headers['webhook-id'] ?? '', old, one.body);
  const replayed = { 'webhook-timestamp': String(stamp - 400), 'webhook-signature': signature };
  expect(() => verify({ ...one, headers: { ...one.headers, ...replayed } })).toThrow('too old');
});

test('after 500 it comes again under the same id; after 400 or a redirect never', async () => {
  answer = (count) => (count === 0 ? 500 : 204);
  await stack.startWorkers('webhook', 'chat');
  await stack.memory.saveChat(turn(stack.newContextId(), 1), { wait: true });
  await eventually(() => received.length === 2);
  expect(received[0]?.headers['webhook-id']).toBe(received[1]?.headers['webhook-id']);
  expect(received[0]?.body).toBe(received[1]?.body);
  for (const each of received) expect(verify(each)).toBeTruthy();
  for (const status of [400, 302]) {
    answer = () => status;
    const before = await stack.queue('webhook').getFailedCount();
    await stack.memory.saveChat(turn(stack.newContextId(), status), { wait: true });
    await eventually(async () => (await stack.queue('webhook').getFailedCount()) === before + 1);
  }
  expect(received).toHaveLength(4);
});

test('a dispatcher that is killed delivers each event under one id, and an endpoint that was away gets them all', async () => {
  await stack.startWorkers('chat');
  const first = await startWorkerProcess('webhook', stack.environment);
  const { port } = server.address() as AddressInfo;
  server.closeAllConnections();
  server.close();
  const contextId = stack.newContextId();
  const ids = idsOf(await stack.memory.saveChats([1, 2, 3].map((n) => turn(contextId, n))));
  await eventually(async () => (await stack.queue('webhook').getDelayedCount()) > 0);
  await kill(first);
  await lapseLocks(stack, 'webhook');
  ids.push(...idsOf(await stack.memory.saveChats([4, 5].map((n) => turn(contextId, n)))));
  await stack.idle('chat');
  await listen(port);
  await stack.startWorkers('webhook');
  const told = () => new Set(received.map(({ body }) => JSON.parse(body).data.id as string));
  await eventually(() => told().size === 5);
  expect([...told()].toSorted()).toEqual(ids.toSorted());
  expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(5);
});

test('what an endpoint does not take for a day is given up, and nothing else waits for it', async () => {
  answer = (count) => (count === 0 ? 500 : 204);
  const data = { type: 'record.cached', at: new Date().toISOString(), data: {} };
  const add = (id: string, ageMs: number) =>
    stack
      .queue('webhook')
      .add('webhook', { ...data, id }, { jobId: id, timestamp: Date.now() - ageMs, removeOnComplete: false });
  await add('old', 86_400_000);
  await stack.startWorkers('webhook');
  await eventually(async () => (await stack.queue('webhook').getFailedCount()) === 1);
  await add('new', 0);
  await eventually(async () => (await stack.queue('webhook').getCompletedCount()) === 1);
  const given = await stack.queue('webhook').getJob('old');
  expect(given?.failedReason).toBe('given up after a day: the endpoint answered 500');
  expect(received.map(({ headers }) => headers['webhook-id'])).toEqual(['old', 'new']);
});

test('neither secrets nor texts stand in its log', async () => {
  answer = (count) => [500, 400][count] ?? 204;
  await stack.startWorkers('chat');
  const worker = startCli(['worker', 'webhook'], { environment: { ...stack.environment, MEMORY_LOG_LEVEL: 'trace' } });
  await eventually(() => worker.said.stderr.includes('worker started'));
  await stack.memory.saveChat(turn(stack.newContextId(), 1), { wait: true });
  await eventually(() => worker.said.stderr.includes('job failed'));
  worker.process.kill('SIGTERM');
  const { stderr, code } = await worker.ended;
  expect(code).toBe(0);
  expect(stderr).toContain('the endpoint answered 500');
  for (const secret of [SECRET, SECRET.slice(6), 'URLTOKEN', 'question', 'user-1'])
    expect(stderr).not.toContain(secret);
});

test.each([
  ['MEMORY_WEBHOOK_SECRET', 'whsec_short'],
  ['MEMORY_WEBHOOK_SECRET', ''],
  ['MEMORY_WEBHOOK_URL', 'ftp://127.0.0.1/'],
  ['MEMORY_WEBHOOK_URL', ''],
])('does not start with %s=%s', async (name, value) => {
  stack.environment[name] = value;
  await expect(stack.startWorkers('webhook')).rejects.toThrow(name);
});
