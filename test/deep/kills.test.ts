/**
 * **test/deep/**: tests that take too long for `npm test`: they wait for time limits of BullMQ and Redis, or start everything
 * anew. Each belongs to a form of `npm run test:deep`.
 */
/**
 * Workers that are killed with work in hand, and the time that BullMQ and the flush take to see it: half a minute until a
 * lock has run out, up to three looks of 30 s each for jobs without one, a minute until pending records change hands. In
 * `npm test` the same stands in durability, webhooks and events, where that time is made to pass in Redis.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { BEGINNING, EventFeed } from '../../shared/short-term/event-feed.ts';
import type { EventOf, EventType } from '../../shared/short-term/events.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { kill, startWorkerProcess } from '../support/clients/worker-process.ts';
import { eventually } from '../support/faults/eventually.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';
import { redisPrograms } from '../support/services/redis-programs.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
const children: ChildProcess[] = [];
afterEach(async () => {
  await Promise.all(children.splice(0).map(kill));
  await stack.stop();
});

async function startProcess(kind: 'chat' | 'flush' | 'webhook'): Promise<ChildProcess> {
  const child = await startWorkerProcess(kind, stack.environment);
  children.push(child);
  return child;
}

async function idsInSupabase(contextId: string): Promise<string[]> {
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId).order('id');
  return (data ?? []).map(({ id }) => id as string);
}

describe.each(redisPrograms())('what was acknowledged by %s', (_name, program) => {
  test('is cached and committed once each when chat and flush workers are killed in the middle', async () => {
    stack = await startStack({ redis: { program } });
    const contextId = stack.newContextId();
    const ids = idsOf(await stack.memory.saveChats(turns(contextId, 500)));
    const [chat, flush] = await Promise.all([startProcess('chat'), startProcess('flush')]);
    await eventually(async () => (await stack.client.xlen('memory:pending')) > 50);
    await kill(chat);
    void stack.memory.flushRedisToSupabase({ batchSize: 10, wait: 1000 }).catch(() => undefined);
    await eventually(async () => (await idsInSupabase(contextId)).length > 20);
    await kill(flush);

    // BullMQ looks for jobs without a lock every 30 s and frees those it has seen so twice; a look that comes a moment too
    // early is left out, so it may take three.
    await stack.startWorkers('chat', 'flush');
    await stack.idle('chat', 300_000);
    expect((await stack.memory.flushRedisToSupabase()).success).toBe(true);
    expect(await idsInSupabase(contextId)).toEqual(ids.toSorted());
    expect((await stack.queue('chat').getJobCounts('failed'))['failed']).toBe(0);
    const { items: records } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
    expect(records.map(({ id }) => id)).toEqual(ids);
  });
});

describe('a webhook', () => {
  interface Received {
    headers: Record<string, string>;
    body: string;
  }
  let server: Server;
  let received: Received[];
  beforeEach(async () => {
    received = [];
    server = createServer((request, response) => {
      void (async () => {
        received.push({ headers: request.headers as Record<string, string>, body: await text(request) });
        response.writeHead(204).end();
      })();
    });
    await listen(0);
    stack = await startStack({
      environment: {
        MEMORY_WEBHOOK_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
        MEMORY_WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`,
      },
    });
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  async function listen(port: number): Promise<void> {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  }

  test('a dispatcher that is killed delivers each event under one id, and an endpoint that was away gets them all', async () => {
    await stack.startWorkers('chat');
    const first = await startProcess('webhook');
    const { port } = server.address() as AddressInfo;
    server.closeAllConnections();
    server.close();
    const contextId = stack.newContextId();
    const ids = idsOf(await stack.memory.saveChats([1, 2, 3].map((n) => turn(contextId, n))));
    await eventually(async () => (await stack.queue('webhook').getDelayedCount()) > 0);
    await kill(first);
    ids.push(...idsOf(await stack.memory.saveChats([4, 5].map((n) => turn(contextId, n)))));
    await stack.idle('chat');
    await listen(port);
    await stack.startWorkers('webhook');
    const told = () => new Set(received.map(({ body }) => JSON.parse(body).data.id as string));
    await eventually(() => told().size === 5, 300_000);
    expect([...told()].toSorted()).toEqual(ids.toSorted());
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(5);
  });
});

describe('an event', () => {
  let feed: EventFeed;
  beforeEach(async () => {
    stack = await startStack();
    feed = new EventFeed(stack.client, new Keys(false));
  });

  async function events<T extends EventType>(type: T): Promise<EventOf<T>[]> {
    const page = await feed.read(BEGINNING, 10_000);
    return page.events.flatMap(({ event }) => (event.type === type ? [event as EventOf<T>] : []));
  }

  test('what is told as committed is what Supabase has, also when a flush worker dies between the two', async () => {
    await stack.startWorkers('chat');
    const contextId = stack.newContextId();
    const ids = idsOf(await stack.memory.saveChats(turns(contextId, 30)));
    await stack.idle('chat');
    const dying = await startProcess('flush');
    let inserted = false;
    stack.proxy.beforeAnswer = ({ method, url }) => {
      if (method !== 'POST' || !url.startsWith('/rest/v1/memories')) return null;
      inserted = true;
      return 'hang';
    };
    stack.memory.flushRedisToSupabase({ wait: 100 }).catch(() => undefined);
    await eventually(() => inserted);
    await kill(dying);
    expect(await events('records.committed')).toEqual([]);
    stack.proxy.beforeAnswer = () => null;
    await stack.startWorkers('flush');
    await eventually(async () => (await stack.memory.getStats()).pendingQueueLength === 0, 300_000);
    const told = (await events('records.committed')).flatMap(({ data }) => data.records.map(({ id }) => id));
    expect(told.toSorted()).toEqual(ids.toSorted());
    const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
    expect((data ?? []).map(({ id }) => id as string).toSorted()).toEqual(told.toSorted());
  });
});
