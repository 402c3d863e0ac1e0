import { createHmac, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SupabaseClient } from '@supabase/supabase-js';
import type { Job } from 'bullmq';
import { v7 as uuidv7 } from 'uuid';
import type { QuarantineJob } from '../../shared/records/jobs.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startOwnSupabase } from '../support/services/own-supabase.ts';
import { startStack, type Stack, supabaseClient } from '../support/services/stack.ts';
import {
  CHOSEN_SUPABASE,
  type SupabaseName,
  type SupabaseService,
  supabaseService,
} from '../support/services/supabase-service.ts';
import { idsOf, moment, turn, turns } from '../support/inputs/turns.ts';

function userToken(secret: string, userId: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 600;
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ role: 'authenticated', aud: 'authenticated', sub: userId, exp })}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

/**
 * What Mnemoq asks of a Supabase, on both there are. Everything else runs on one of them: `MNEMOQ_TEST_SUPABASE` says which.
 */
const services = new Map<SupabaseName, SupabaseService>();
const stops: (() => Promise<void>)[] = [];
beforeAll(async () => {
  services.set(CHOSEN_SUPABASE, supabaseService());
  services.set('postgrest', supabaseService('postgrest'));
  if (services.has('embedded')) return;
  const embedded = await startOwnSupabase('embedded');
  services.set('embedded', embedded);
  stops.push(embedded.stop);
});
afterAll(async () => {
  for (const stop of stops) await stop();
});

describe.each(['embedded', 'postgrest'] as const)('what is saved, on the %s Supabase', (name) => {
  let stack: Stack;
  beforeAll(async () => {
    const environment = { MEMORY_SHORT_TERM_LIMIT: '5', MEMORY_TEXT_CACHE: 'plain' };
    stack = await startStack({ supabase: services.get(name) ?? name, environment });
    await stack.startWorkers();
  });
  afterAll(() => stack.stop());

  const rowsOf = async (contextId: string) =>
    (await stack.supabase.from('memories').select('*').eq('context_id', contextId).order('id')).data ?? [];
  const cache = async (inputs: ReturnType<typeof turns>) => {
    const ids = idsOf(await stack.memory.saveChats(inputs));
    await stack.idle('chat');
    return ids;
  };
  /** Past the cache, page by page. */
  const readAll = async (contextId: string) => {
    await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`);
    const read: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await stack.memory.getMemoryContext(contextId, { limit: 7, ...(cursor && { cursor }) });
      read.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    return read;
  };

  test('is committed once, also when the answer was lost, and read in order by pages that end between equal moments', async () => {
    const contextId = stack.newContextId();
    const inputs = turns(contextId, 20).map((each, n) => ({ ...each, createdAt: moment(Math.floor(n / 10)) }));
    const ids = await cache(inputs);
    stack.proxy.beforeAnswer = ({ method }) => (method === 'POST' ? 'reset' : null);
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: false });
    stack.proxy.beforeAnswer = () => null;
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true });
    expect((await rowsOf(contextId)).map(({ id }) => id as string)).toEqual(ids.toSorted());
    // Ids are made in the order of saving, within each of the two moments.
    expect(await readAll(contextId)).toEqual(ids);
    expect((await stack.memory.loadRecentContext(contextId, { limit: 3 })).items.map(({ id }) => id)).toEqual(
      ids.slice(-3),
    );
  });

  test('is refused row by row: what PostgreSQL cannot store is set aside alone, and goes in when it is mended', async () => {
    const contextId = stack.newContextId();
    const ids = await cache(turns(contextId, 8));
    const [, , bad = ''] = ids;
    const key = `memory:conversation:${contextId}`;
    const cached = JSON.parse((await stack.client.hget(key, bad)) ?? '') as object;
    await stack.client.hset(key, bad, JSON.stringify({ ...cached, textCache: 'a\0b' }));
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true });
    await eventually(async () => (await stack.memory.listQuarantined()).items.length === 1);
    expect((await stack.memory.listQuarantined()).items).toMatchObject([
      { id: bad, supabaseCode: expect.stringMatching(/22021|22P05/) },
    ]);
    expect(await stack.memory.retryQuarantined(bad)).toMatchObject({ committed: false });
    expect((await rowsOf(contextId)).map(({ id }) => id as string)).toEqual(ids.filter((id) => id !== bad).toSorted());
    const { data } = (await stack.queue('quarantine').getJob(bad)) as Job<QuarantineJob>;
    const mended = { ...data.row, text_cache: null };
    expect(await stack.memory.retryQuarantined(bad, { row: mended })).toEqual({
      committed: true,
      reason: null,
    });
    expect((await rowsOf(contextId)).map(({ id }) => id as string)).toEqual(ids.toSorted());
  });

  test('is found again: by its words, in the list of conversations, in trends and in an export', async () => {
    const [contextId, userId] = [stack.newContextId(), randomUUID()];
    const said = { contextId, userId, assistantMessage: '湯底用大骨熬。' };
    const first = await stack.memory.saveChat({ ...said, userMessage: '肉羹湯', createdAt: moment(1) }, { wait: true });
    const second = await stack.memory.saveChat(
      { ...said, userMessage: 'noodles', createdAt: moment(2) },
      { wait: true },
    );
    await stack.memory.flushRedisToSupabase();
    const found = async (query: string) => (await stack.memory.search({ query, contextId })).items.map(({ id }) => id);
    expect([await found('肉羹湯'), await found('noodles')]).toMatchObject([[first.id], [second.id]]);
    expect(await stack.memory.search({ query: 'noodles', userId: randomUUID() })).toMatchObject({ items: [] });
    const { items: conversations } = await stack.memory.listConversations({ prefix: contextId });
    expect(conversations).toMatchObject([{ contextId }]);
    const { items: buckets } = await stack.memory.getTrends({
      userId,
      bucket: 'day',
      from: moment(0),
      to: moment(86_400),
    });
    expect(buckets).toMatchObject([{ from: moment(0), turns: 2, meanGapSeconds: 1 }]);
    const lines = await Array.fromAsync(stack.memory.exportTrainingData({ contextId, format: 'tokens' }));
    expect(lines.map((line) => JSON.parse(line).id)).toEqual([first.id, second.id]);
  });

  test('is pinned with its CID in both tables, verifies, and is gone when its user is erased', async () => {
    const [contextId, userId, other] = [stack.newContextId(), randomUUID(), randomUUID()];
    const kept = await stack.memory.saveChat(turn(contextId, 1, { userId: other }), { wait: true });
    await stack.memory.saveChat(turn(contextId, 2, { userId }), { wait: true });
    const { id, cid } = await stack.memory.saveReflection(
      { contextId, userId, reflectionText: 'so be it' },
      { wait: true },
    );
    await stack.memory.flushRedisToSupabase();
    const reflections = async () =>
      (await stack.supabase.from('memory_reflections').select('cid').eq('context_id', contextId)).data;
    expect(await reflections()).toEqual([{ cid }]);
    expect((await rowsOf(contextId)).find((row) => row.id === id)).toMatchObject({ cid });
    expect(await stack.memory.verify(cid ?? '')).toMatchObject({ ok: true });
    await stack.memory.forget({ userId });
    expect(await reflections()).toEqual([]);
    expect((await rowsOf(contextId)).map((row) => row.id as string)).toEqual([kept.id]);
    expect(await readAll(contextId)).toEqual([kept.id]);
  });
});

describe.each(['embedded', 'postgrest'] as const)('who may read and write, on the %s Supabase', (name) => {
  const contextId = `rls ${randomUUID()}`;
  const [alice, bob] = [randomUUID(), randomUUID()];
  const ids = { alice: uuidv7(), bob: uuidv7() };
  let service: SupabaseClient;
  let anon: SupabaseClient;
  let signedIn: SupabaseClient;

  beforeAll(async () => {
    const { url, serviceKey, anonKey, jwtSecret } = services.get(name) as SupabaseService;
    service = supabaseClient(url, serviceKey);
    anon = supabaseClient(url, anonKey);
    signedIn = supabaseClient(url, anonKey, userToken(jwtSecret, alice));
    const row = {
      context_id: contextId,
      tokens: { encoding: 'gpt2', text: [] },
      module: 'reflection',
      created_at: moment(1),
    };
    const memories = [
      { ...row, id: ids.alice, user_id: alice },
      { ...row, id: ids.bob, user_id: bob },
    ];
    await service.from('memories').insert(memories).throwOnError();
    const reflection = {
      context_id: contextId,
      cid: 'c',
      sha256: 's',
      signature: 's',
      signing_kid: 'k',
      signing_key: 'k',
    };
    const secret = { wrapped_key: 'secret', visibility: 'private', created_at: moment(1) };
    const reflections = memories.map(({ id, user_id }) => ({ ...reflection, ...secret, id, user_id }));
    await service.from('memory_reflections').insert(reflections).throwOnError();
  });

  test('the service role reads everything', async () => {
    expect((await service.from('memories').select('id').eq('context_id', contextId)).data).toHaveLength(2);
  });

  test('a signed-in user reads their own rows and no others, also when asking for them by id', async () => {
    const all = await signedIn.from('memories').select('id').eq('context_id', contextId);
    expect([all.error, all.data]).toEqual([null, [{ id: ids.alice }]]);
    expect((await signedIn.from('memories').select('id').eq('id', ids.bob)).data).toEqual([]);
    const reflections = await signedIn.from('memory_reflections').select('id, cid').eq('context_id', contextId);
    expect([reflections.error, reflections.data]).toEqual([null, [{ id: ids.alice, cid: 'c' }]]);
  });

  test('a signed-in user writes, changes and deletes nothing', async () => {
    const before = await service.from('memories').select('*').eq('context_id', contextId).order('id');
    const row = {
      id: uuidv7(),
      user_id: alice,
      context_id: contextId,
      tokens: {},
      module: 'chat',
      created_at: moment(1),
    };
    expect((await signedIn.from('memories').insert(row)).error?.code).toBe('42501');
    await signedIn.from('memories').update({ cid: 'x' }).eq('id', ids.alice);
    await signedIn.from('memories').delete().eq('id', ids.alice);
    const after = await service.from('memories').select('*').eq('context_id', contextId).order('id');
    expect(after.data).toEqual(before.data);
  });

  test('anon reads nothing', async () => {
    for (const table of ['memories', 'memory_reflections']) {
      const { data } = await anon.from(table).select('id').eq('context_id', contextId);
      expect(data ?? []).toEqual([]);
    }
  });

  // The embedded Supabase grants its API roles everything on every table when it starts, so that there only the policies
  // above hold; PostgREST over PostgreSQL is what production has.
  if (name === 'postgrest') {
    test('grants: no wrapped key for a user, no write for a user, no table and no function for anon', async () => {
      const key = await signedIn.from('memory_reflections').select('wrapped_key').eq('id', ids.alice);
      expect([key.data, key.error?.code]).toEqual([null, '42501']);
      expect((await signedIn.from('memories').update({ cid: 'x' }).eq('id', ids.alice)).error?.code).toBe('42501');
      expect((await signedIn.from('memories').delete().eq('id', ids.alice)).error?.code).toBe('42501');
      expect((await anon.from('memories').select('id')).error?.code).toBe('42501');
      expect((await anon.rpc('mnemoq_schema_version')).error?.code).toBe('42501');
      expect((await signedIn.rpc('mnemoq_schema_version')).error?.code).toBe('42501');
    });
  }
});
