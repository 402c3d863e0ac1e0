import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { MemoryCore, type MemoryEvent, type ReflectorContext } from '../../producers/index.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn, turns } from '../support/inputs/turns.ts';

/** What the reflector was sent, by the names of its protocol. */
interface Asked {
  id: string;
  context_id: string;
  user_id: string | null;
  reason: string;
  focus: string | null;
  messages: { role: string; content: string }[];
  source_ids: string[];
  previous: { cid: string; text: string } | null;
  max_tokens: number;
}

interface Answer {
  status: number;
  body?: string;
  headers?: Record<string, string>;
}

const SECRET = `whsec_${randomBytes(32).toString('base64')}`;
const ofText = (text: string): Answer => ({ status: 200, body: JSON.stringify({ text }) });

let stack: Stack;
let server: Server;
let asked: Asked[];
let signed: { headers: IncomingHttpHeaders; body: string }[];
let answer: (context: Asked) => Answer | Promise<Answer>;

beforeEach(async () => {
  asked = [];
  signed = [];
  answer = ({ messages }) => ofText(`they spoke ${messages.length / 2} times`);
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    signed.push({ headers: request.headers, body });
    asked.push(JSON.parse(body));
    const { status, body: answered, headers } = await answer(JSON.parse(body));
    response.writeHead(status, headers).end(answered);
  };
  server = createServer((request, response) => void serve(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  await stack.stop();
  server.closeAllConnections();
  server.close();
});

async function start(policy: Record<string, string>, ...kinds: Parameters<Stack['startWorkers']>): Promise<string> {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/reflect`;
  const reflector = { MEMORY_REFLECTOR_URL: url, MEMORY_REFLECTOR_SECRET: SECRET };
  stack = await startStack({ environment: { ...reflector, ...policy } });
  await stack.startWorkers(...(kinds.length > 0 ? kinds : (['chat', 'reflection', 'reflector'] as const)));
  return stack.newContextId();
}

const reflectionsOf = async (contextId: string) => (await stack.memory.listReflections({ contextId })).items;
const pinnedOf = async (contextId: string, count: number) =>
  eventually(async () => {
    const found = await reflectionsOf(contextId);
    return found.length === count && found.every(({ pinnedAt }) => pinnedAt !== null) ? found : null;
  });
const reflectorJobs = async () => stack.queue('reflector').getJobs();

describe('the policy', () => {
  test('every so many turns of a user, counted once each, one reflection of them is pinned and told of', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '3' });
    const told: MemoryEvent[] = [];
    stack.memory.onReflection((event) => told.push(event));
    const sent = turns(contextId, 7, 1);
    const ids: string[] = [];
    for (const each of sent) {
      const { id } = await stack.memory.saveChat(each, { wait: true });
      ids.push(id);
      await stack.memory.saveChat({ ...each, id }, { wait: true }); // a repeated delivery
      await stack.idle('reflector');
      await stack.idle('reflection');
    }
    const [second, first] = (await pinnedOf(contextId, 2)) ?? [];
    expect(asked.map(({ reason, messages }) => [reason, messages.length])).toEqual([
      ['turns', 6],
      ['turns', 12],
    ]);
    expect(asked[0]).toMatchObject({ context_id: contextId, user_id: 'user-1', focus: null, previous: null });
    expect(asked[0]?.messages[0]).toEqual({ role: 'user', content: 'question 1' });
    expect(asked[1]?.previous).toEqual({ cid: first?.cid, text: 'they spoke 3 times' });
    expect([first?.sourceIds, second?.sourceIds]).toEqual([ids.slice(0, 3), ids.slice(0, 6)]);
    expect([first?.previousCid, second?.previousCid]).toEqual([null, first?.cid]);
    expect(first?.id).toBe(asked[0]?.id);
    await eventually(() => told.length === 2);
    expect(told[0]?.data).toMatchObject({ id: first?.id, contextId, userId: 'user-1', cid: first?.cid });
    expect((await stack.memory.traceReflection(second?.cid ?? '')).complete).toBe(true);
  });

  test('each user of a conversation is counted alone, and only his turns are sent', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '2' });
    for (const [n, userId] of ['ann', 'ben', 'ben', 'cleo'].entries()) {
      await stack.memory.saveChat(turn(contextId, n, { userId }), { wait: true });
    }
    await pinnedOf(contextId, 1);
    expect(asked.map(({ user_id }) => user_id)).toEqual(['ben']);
    expect(asked[0]?.messages.map(({ content }) => content)).toContain('question 2');
    expect(asked[0]?.messages).toHaveLength(4);
  });

  test('after quiet, once for all turns before it', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_IDLE_MS: '400' });
    for (const each of turns(contextId, 3)) await stack.memory.saveChat(each, { wait: true });
    expect(await reflectorJobs()).toHaveLength(1);
    await pinnedOf(contextId, 1);
    expect(asked.map(({ reason, messages }) => [reason, messages.length])).toEqual([['idle', 6]]);
    await stack.idle('reflector');
    expect(asked).toHaveLength(1);
  });

  test('within the budget of tokens, the newest turns', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '4', MEMORY_REFLECTOR_MAX_TOKENS: '13' });
    for (const each of turns(contextId, 4)) await stack.memory.saveChat(each, { wait: true });
    const [reflection] = (await pinnedOf(contextId, 1)) ?? [];
    expect(asked[0]).toMatchObject({ max_tokens: 13, messages: [{ content: 'question 2' }, {}, {}, {}] });
    expect(reflection?.sourceIds).toEqual(asked[0]?.source_ids);
  });

  test('a worker that died before it could ring: the repeated delivery rings', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '1' }, 'reflection', 'reflector');
    await stack.startWorkers('chat');
    const { id } = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await pinnedOf(contextId, 1);
    // As if the turn had been counted and nothing rung: the state as the crash leaves it, and the job delivered again.
    await stack.client.hdel(`memory:reflector:${contextId}`, 'reflected:user-1');
    await (await stack.queue('chat').getJob(id))?.remove();
    await stack.memory.saveChat({ ...turn(contextId, 1), id }, { wait: true });
    expect(await pinnedOf(contextId, 2)).toHaveLength(2);
  });
});

describe('on demand', () => {
  test('one waits, and the latest focus wins; the next is for what is asked while one is under way', async () => {
    const contextId = await start({}, 'chat', 'reflection');
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    for (const focus of ['first', 'second', 'third']) {
      await stack.memory.requestReflection({ contextId, userId: 'user-1', focus });
    }
    expect(await reflectorJobs()).toHaveLength(1);
    const underWay = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    answer = async ({ focus }) => {
      underWay.resolve();
      if (focus === 'third') await held.promise;
      return ofText(`on ${focus}`);
    };
    await stack.startWorkers('reflector');
    await underWay.promise;
    for (const focus of ['fourth', 'fifth']) {
      await stack.memory.requestReflection({ contextId, userId: 'user-1', focus });
    }
    held.resolve();
    await pinnedOf(contextId, 2);
    expect(asked.map(({ reason, focus }) => [reason, focus])).toEqual([
      ['request', 'third'],
      ['request', 'fifth'],
    ]);
  });

  test('without a user all turns are sent, and the reflection is nobody’s', async () => {
    const contextId = await start({});
    for (const userId of ['ann', 'ben']) await stack.memory.saveChat(turn(contextId, 1, { userId }), { wait: true });
    await stack.memory.requestReflection({ contextId });
    const [reflection] = (await pinnedOf(contextId, 1)) ?? [];
    expect([reflection?.userId, asked[0]?.user_id, asked[0]?.messages.length]).toEqual([null, null, 4]);
  });

  test('a function in the caller’s process does the same', async () => {
    const contextId = await start({}, 'chat', 'reflection');
    const given: ReflectorContext[] = [];
    const stop = stack.memory.reflectWith((context) => {
      given.push(context);
      return given.length === 1 ? null : 'of my own';
    });
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await stack.memory.requestReflection({ contextId, userId: 'user-1', focus: 'none' });
    await eventually(() => given.length === 1);
    await stack.idle('reflector');
    await stack.memory.requestReflection({ contextId, userId: 'user-1', focus: 'one' });
    await pinnedOf(contextId, 1);
    expect(given.map(({ focus, reason }) => [focus, reason])).toEqual([
      ['none', 'request'],
      ['one', 'request'],
    ]);
    await stop();
  });
});

describe('a reflector', () => {
  test('gets requests signed as Standard Webhooks has it', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '1' });
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await pinnedOf(contextId, 1);
    const [{ headers, body } = { headers: {}, body: '' }] = signed;
    expect(() => new Webhook(SECRET).verify(body, headers as Record<string, string>)).not.toThrow();
  });

  test.each<[string, Answer]>([
    ['500', { status: 500 }],
    ['429', { status: 429 }],
  ])('that answers %s is asked again, with the same id, and one reflection comes of it', async (_name, failure) => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '1' });
    answer = () => (asked.length === 1 ? failure : ofText('at last'));
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await pinnedOf(contextId, 1);
    expect(new Set(asked.map(({ id }) => id)).size).toBe(1);
    expect(asked).toHaveLength(2);
  });

  test('that does not answer in time is asked again', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '1', MEMORY_REFLECTOR_TIMEOUT_MS: '100' });
    const never = Promise.withResolvers<Answer>();
    answer = () => (asked.length === 1 ? never.promise : ofText('at last'));
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await pinnedOf(contextId, 1);
    expect(asked.map(({ id }) => id)).toEqual([asked[0]?.id, asked[0]?.id]);
    never.resolve({ status: 204 });
  });

  test('that has nothing to say leaves nothing behind', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '1' });
    answer = () => ({ status: 204 });
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await eventually(() => asked.length === 1);
    await stack.idle('reflector');
    expect(await stack.queue('reflection').getJobs()).toEqual([]);
    expect(await stack.queue('reflector').getJobCountByTypes('failed')).toBe(0);
  });

  test.each<[string, Answer, RegExp]>([
    ['no JSON', { status: 200, body: 'MARKER' }, /expected JSON in UTF-8, received 6 bytes that are not/],
    ['no text', { status: 200, body: '{}' }, /text: expected a string, received nothing/],
    ['an empty text', { status: 200, body: '{"text":""}' }, /text: expected at least 1 character/],
    ['a text of another type', { status: 200, body: '{"text":7}' }, /text: expected a string, received number 7/],
    ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/MARKER' } }, /answered 302/],
    ['a refusal', { status: 400, body: 'MARKER' }, /answered 400/],
  ])('that answers with %s fails the job, which says why; the next turns have their own', async (_n, bad, reason) => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '1' });
    answer = () => (asked.length === 1 ? bad : ofText('better'));
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    const [failed] = (await eventually(async () => {
      const jobs = await stack.queue('reflector').getFailed();
      return jobs.length === 1 ? jobs : null;
    })) as { failedReason: string; attemptsStarted: number }[];
    expect(failed?.failedReason).toMatch(reason);
    expect(failed?.failedReason).not.toContain('MARKER');
    expect(failed?.attemptsStarted).toBe(1);
    await stack.memory.saveChat(turn(contextId, 2), { wait: true });
    await pinnedOf(contextId, 1);
  });

  test('whose worker dies after the text was saved: the job taken up again saves no second one', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '1' });
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await pinnedOf(contextId, 1);
    await stack.idle('reflector');
    // The job as the crash leaves it: begun, its text saved, not settled; delivered again.
    const [job] = await stack.queue('reflector').getCompleted();
    await stack.client.hdel(`memory:reflector:${contextId}`, 'reflected:user-1');
    await job?.retry('completed');
    await eventually(
      async () => (await stack.client.hget(`memory:reflector:${contextId}`, 'reflected:user-1')) === '1',
    );
    await stack.idle('reflector');
    expect(asked).toHaveLength(1);
    expect(await reflectionsOf(contextId)).toHaveLength(1);
  });
});

describe('an erasure', () => {
  test('leaves no count, no request and no job, and nothing comes of a reflector under way', async () => {
    const contextId = await start({ MEMORY_REFLECTOR_EVERY_TURNS: '2' }, 'chat', 'reflection', 'reflector', 'flush');
    const underWay = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    answer = async () => {
      underWay.resolve();
      await held.promise;
      return ofText('too late');
    };
    await stack.memory.saveChat(turn(contextId, 1, { userId: 'ben' }), { wait: true });
    // A user of this test alone: the database is shared with other test files, whose rows must stay.
    const userId = `forgotten ${randomUUID()}`;
    for (const each of turns(contextId, 2)) await stack.memory.saveChat({ ...each, userId }, { wait: true });
    await underWay.promise;
    await stack.memory.requestReflection({ contextId, userId, focus: 'a secret' });
    const forgetting = stack.memory.forget({ userId });
    await eventually(async () => (await stack.client.hlen('memory:erased')) === 1);
    held.resolve();
    await forgetting;
    const state = await stack.client.hgetall(`memory:reflector:${contextId}`);
    expect(Object.keys(state).filter((field) => field.endsWith(`:${userId}`))).toEqual([]);
    expect(state).toMatchObject({ 'turns:ben': '1' });
    // What ended while it was looked for is there still, without what it carried.
    for (const { id, data } of await reflectorJobs()) expect(data).toEqual({ id });
    expect(await reflectionsOf(contextId)).toEqual([]);
    const again = stack.memory.requestReflection({ contextId, userId });
    await expect(again).rejects.toMatchObject({ code: 'erased' });
  });
});

test('a request is refused with the field that is wrong', async () => {
  await start({}, 'chat');
  const memory = new MemoryCore(stack.environment);
  const wrong = memory.requestReflection({ contextId: 'c', focus: '' });
  await expect(wrong).rejects.toMatchObject({ code: 'invalid_input', problems: [{ field: 'focus' }] });
  expect(() => memory.reflectWith('no function' as never)).toThrow('expected a function');
  await memory.close();
});
