import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { startRedis } from '../../embedded/redis.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { BEGINNING, EventFeed } from '../../shared/short-term/event-feed.ts';
import type { EventOf, EventType, MemoryEvent } from '../../shared/short-term/events.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { eventually } from '../support/faults/eventually.ts';
import { lapseLocks, lapseTakeover } from '../support/faults/lapsed-locks.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';
import { kill, startWorkerProcess } from '../support/clients/worker-process.ts';

let stack: Stack;
let feed: EventFeed;
beforeEach(async () => {
  stack = await startStack();
  feed = new EventFeed(stack.client, new Keys(false));
});
afterEach(() => stack.stop());

async function events<T extends EventType>(type: T): Promise<EventOf<T>[]> {
  const page = await feed.read(BEGINNING, 10_000);
  return page.events.flatMap(({ event }) => (event.type === type ? [event as EventOf<T>] : []));
}

/** What a follower is told, as it comes. */
function listen(options: { cursor?: string; userId?: string; memory?: MemoryCore } = {}) {
  const stopping = new AbortController();
  const told: MemoryEvent[] = [];
  const state = { cursor: '', told, ended: Promise.resolve(), stop: () => stopping.abort() };
  const run = async () => {
    const { memory = stack.memory, ...more } = options;
    const { events: followed } = await memory.followEvents({ ...more, signal: stopping.signal });
    for await (const { event, cursor } of followed) {
      told.push(event);
      state.cursor = cursor;
    }
  };
  state.ended = run();
  return state;
}

test('every record is told once when it is cached, also when it is delivered again', async () => {
  await stack.startWorkers('chat');
  const contextId = stack.newContextId();
  const ids = idsOf(await stack.memory.saveChats(turns(contextId, 20)));
  await stack.idle('chat');
  await Promise.all(ids.map((id) => stack.queue('chat').remove(id)));
  await stack.memory.saveChats(turns(contextId, 20).map((each, i) => ({ ...each, id: ids[i] ?? '' })));
  await stack.idle('chat');
  const cached = await events('record.cached');
  expect(cached.map(({ data }) => data.id).toSorted()).toEqual(ids.toSorted());
  expect(cached[0]).toEqual({
    id: expect.stringMatching(/^\d+-\d+$/),
    type: 'record.cached',
    at: expect.stringMatching(/Z$/),
    data: { id: expect.any(String), contextId, userId: 'user-1', module: 'chat', tokenCount: expect.any(Number) },
  });
});

test('what is told as committed is what Supabase has, also when a flush worker dies between the two', async () => {
  await stack.startWorkers('chat');
  const contextId = stack.newContextId();
  const ids = idsOf(await stack.memory.saveChats(turns(contextId, 30)));
  await stack.idle('chat');
  const dying = await startWorkerProcess('flush', stack.environment);
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
  await lapseLocks(stack, 'flush');
  await lapseTakeover(stack);
  await stack.startWorkers('flush');
  await eventually(async () => (await stack.memory.getStats()).pendingQueueLength === 0);
  const told = (await events('records.committed')).flatMap(({ data }) => data.records.map(({ id }) => id));
  expect(told.toSorted()).toEqual(ids.toSorted());
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
  expect((data ?? []).map(({ id }) => id as string).toSorted()).toEqual(told.toSorted());
});

test('a refused record is told as quarantined, with the code, and as committed once it is mended', async () => {
  await stack.startWorkers('chat', 'flush');
  const contextId = stack.newContextId();
  const { id } = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
  stack.proxy.fault = ({ method, url }) =>
    method === 'POST' && url.startsWith('/rest/v1/memories')
      ? { status: 400, body: { code: '22021', message: 'no' } }
      : null;
  await stack.memory.flushRedisToSupabase();
  expect((await events('record.quarantined')).map(({ data }) => data)).toEqual([
    { id, contextId, userId: 'user-1', module: 'chat', supabaseCode: '22021' },
  ]);
  expect(await events('records.committed')).toEqual([]);
  stack.proxy.fault = () => null;
  await eventually(async () => (await stack.memory.listQuarantined()).items.length === 1);
  expect(await stack.memory.retryQuarantined(id)).toMatchObject({ committed: true });
  expect((await events('records.committed')).map(({ data }) => data)).toEqual([
    { contextId, records: [{ id, userId: 'user-1', module: 'chat' }] },
  ]);
});

test('a pinned reflection is told to its handler with a CID that can be verified; a handler that fails stops no other', async () => {
  const told: EventOf<'record.pinned'>[] = [];
  const turnsTold: string[] = [];
  const unheard: string[] = [];
  stack.memory.onReflection(() => {
    throw new Error('on purpose');
  });
  stack.memory.onReflection((event) => told.push(event));
  stack.memory.onTurnSaved(({ data }) => turnsTold.push(data.id));
  const unsubscribe = stack.memory.onTurnSaved(({ data }) => unheard.push(data.id));
  unsubscribe();
  await stack.startWorkers('reflection', 'chat');
  const contextId = stack.newContextId();
  const { id, cid } = await stack.memory.saveReflection({ contextId, reflectionText: 'a thought' }, { wait: true });
  const saved = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
  await eventually(() => told.length === 1 && turnsTold.length === 1);
  expect(told[0]?.data).toMatchObject({
    id,
    contextId,
    userId: null,
    module: 'reflection',
    cid,
    visibility: 'private',
  });
  expect((await stack.memory.verify(told[0]?.data.cid ?? '')).ok).toBe(true);
  expect(turnsTold).toEqual([saved.id]);
  expect(unheard).toEqual([]);
});

test('a user is told of nobody else', async () => {
  await stack.startWorkers('chat', 'flush');
  const contextId = stack.newContextId();
  const alice = listen({ cursor: BEGINNING, userId: 'alice' });
  const ids = idsOf(
    await stack.memory.saveChats(turns(contextId, 10).map((each, n) => ({ ...each, userId: n % 2 ? 'alice' : 'bob' }))),
  );
  await stack.idle('chat');
  await stack.memory.flushRedisToSupabase();
  const hers = ids.filter((_, n) => n % 2).toSorted();
  await eventually(() => alice.told.some(({ type }) => type === 'records.committed'));
  alice.stop();
  await alice.ended;
  expect(JSON.stringify(alice.told)).not.toContain('bob');
  const cached = alice.told.flatMap((event) => (event.type === 'record.cached' ? [event.data.id] : []));
  const committed = alice.told.flatMap((event) =>
    event.type === 'records.committed' ? event.data.records.map(({ id }) => id) : [],
  );
  expect([cached.toSorted(), committed.toSorted()]).toEqual([hers, hers]);
});

test('a follower goes on where it was, over a restart of Redis, without loss or repeat', async () => {
  await stack.startWorkers('chat');
  const contextId = stack.newContextId();
  const before = listen({ cursor: BEGINNING });
  const first = await stack.memory.saveChats(turns(contextId, 10));
  await eventually(() => before.told.length === 10);
  await stack.redis.stop();
  const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'redis');
  stack.redis = await startRedis(dir, { port: stack.redis.port });
  await stack.idle('chat');
  const again = turns(contextId, 10, 10).map((each) => ({ ...each, id: randomUUID() }));
  const second = await eventually(async () => stack.memory.saveChats(again).catch(() => null));
  if (!second) throw new Error('saved');
  await eventually(() => before.told.length === 20);
  before.stop();
  await before.ended;
  const third = await stack.memory.saveChats(turns(contextId, 10, 20));
  const after = listen({ cursor: before.cursor });
  await eventually(() => after.told.length === 10);
  after.stop();
  await after.ended;
  const told = [...before.told, ...after.told].flatMap((event) =>
    event.type === 'record.cached' ? [event.data.id] : [],
  );
  expect(told.toSorted()).toEqual([first, second, third].flatMap(idsOf).toSorted());
});

test('who comes back after events were trimmed is told that some were missed, and no one else', async () => {
  await stack.startWorkers('chat');
  const contextId = stack.newContextId();
  await stack.memory.saveChats(turns(contextId, 5));
  await stack.idle('chat');
  const {
    events: [one, two],
  } = await feed.read(BEGINNING);
  await stack.client.xtrim('memory:events', 'MAXLEN', '=', 3);
  const late = listen({ cursor: one?.cursor ?? '' });
  await eventually(() => late.told.length === 4);
  expect(late.told.map(({ type }) => type)).toEqual(['events.missed', ...Array(3).fill('record.cached')]);
  late.stop();
  const { events: kept } = await feed.read(BEGINNING);
  const inTime = listen({ cursor: kept[0]?.cursor ?? '' });
  await eventually(() => inTime.told.length === 2);
  expect(inTime.told.map(({ type }) => type)).toEqual(['record.cached', 'record.cached']);
  inTime.stop();
  expect((await feed.read(BEGINNING)).missed).toBe(true);
  expect(two).toBeDefined();
});

test('parts of a cluster are one sequence that can be left and taken up anywhere', async () => {
  const keys = new Keys(true);
  const parts = new EventFeed(stack.client, keys);
  for (let n = 0; n < 40; n += 1) {
    const shard = keys.shards[(n * 5) % keys.shards.length] ?? '';
    const data = JSON.stringify({ id: randomUUID(), contextId: 'c', userId: null, module: 'chat', tokenCount: n });
    await stack.client.xadd(keys.events(shard), '*', 'type', 'record.cached', 'data', data);
  }
  const all = (await parts.read(BEGINNING)).events;
  expect(new Set(all.map(({ event }) => event.id)).size).toBe(40);
  for (const [i, { cursor }] of all.entries()) {
    const rest = await parts.read(cursor);
    expect(rest.missed).toBe(false);
    expect(rest.events.map(({ event }) => event.id)).toEqual(all.slice(i + 1).map(({ event }) => event.id));
  }
});

test('what is no cursor is refused', () => {
  const signal = AbortSignal.abort();
  for (const cursor of ['', 'x', '1', '1-1_1-1', '$', '1-1-1', '9'.repeat(400)]) {
    expect(() => feed.follow({ cursor, signal })).toThrow('cursor: expected');
  }
});
