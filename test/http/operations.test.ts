import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Api, startApi } from '../../doors/http/server.ts';
import { computeCid, Ipfs } from '../../shared/pinning/ipfs.ts';
import { createReflectionDocument, toBytes } from '../../shared/pinning/reflection-document.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import { OpenApiClient } from '../support/clients/openapi-client.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
let api: Api;
let client: OpenApiClient;
let key: string;
beforeAll(async () => {
  stack = await startStack({ environment: { MEMORY_API_PORT: '0' } });
  key = (stack.environment['MEMORY_API_KEYS'] ?? '').split(':')[1] ?? '';
  await stack.startWorkers();
  api = await startApi(stack.environment, '1.0.0');
  client = await OpenApiClient.of(api.url);
});
afterAll(async () => {
  await api.stop();
  await stack.stop();
});

const WAIT = { prefer: 'wait=20' };
const turnOf = (context_id: string, n = 1) => ({
  context_id,
  user_id: 'ann',
  user_message: `question ${n}`,
  assistant_message: `answer ${n}`,
});

describe('saving', () => {
  test('a turn is 202 when Redis has it and 200 when it was waited for', async () => {
    const context_id = stack.newContextId();
    const queued = await client.call('saveChat', { key, body: turnOf(context_id) });
    expect(queued).toMatchObject({ status: 202, json: { success: true, redis_stored: true, token_count: null } });
    const cached = await client.call('saveChat', { key, body: turnOf(context_id, 2), headers: WAIT });
    expect(cached).toMatchObject({ status: 200, json: { token_count: 6, supabase_stored: false } });
    expect(cached.headers.get('preference-applied')).toBe('wait=20');
    const important = { ...turnOf(context_id, 3), important: true };
    const committed = await client.call('saveChat', { key, body: important, headers: WAIT });
    expect(committed).toMatchObject({ status: 200, json: { supabase_stored: true } });
  });

  test('the same Idempotency-Key is the same record, in the header and in the body', async () => {
    const context_id = stack.newContextId();
    const save = async (headers: Record<string, string>, more = {}) =>
      client.call('saveChat', { key, body: { ...turnOf(context_id), ...more }, headers: { ...WAIT, ...headers } });
    const { id } = (await save({ 'idempotency-key': 'one' })).json as { id: string };
    expect((await save({ 'idempotency-key': '"one"' })).json).toMatchObject({ id });
    expect((await save({}, { idempotency_key: 'one' })).json).toMatchObject({ id });
    expect((await save({ 'idempotency-key': 'two' }, { idempotency_key: 'one' })).status).toBe(400);
    const read = await client.call('getMemoryContext', { key, path: { context_id } });
    expect((read.json as { items: unknown[] }).items).toHaveLength(1);
  });

  test.each([
    ['saveReflection', { reflection_text: 'Ask about wind first.' }],
    ['saveFinetuneOutput', { text: 'Shorter answers now.' }],
    ['saveKnowledge', { text: 'Frost ends in May.' }],
  ])('%s waits for the pin, and its CID verifies', async (operation, more) => {
    const context_id = stack.newContextId();
    const saved = await client.call(operation, { key, body: { context_id, ...more }, headers: WAIT });
    expect(saved).toMatchObject({ status: 200, json: { cid: expect.stringMatching(/^bafkrei/) } });
    const { id, cid } = saved.json as { id: string; cid: string };
    expect(await client.call('verify', { key, path: { cid } })).toMatchObject({ status: 200, json: { ok: true } });
    expect((await client.call('getStatus', { key, path: { id } })).json).toMatchObject({ status: 'pinned', cid });
  });
});

describe('reading', () => {
  test('a conversation comes by pages, whose cursors and links lead on', async () => {
    const context_id = stack.newContextId();
    for (const n of [1, 2, 3]) await client.call('saveChat', { key, body: turnOf(context_id, n), headers: WAIT });
    const first = await client.call('getMemoryContext', { key, path: { context_id }, query: { limit: 2 } });
    const page = first.json as { items: { user_message: string }[]; next_cursor: string };
    expect(page.items.map(({ user_message }) => user_message)).toEqual(['question 1', 'question 2']);
    const [, link = ''] = /<([^>]+)>; rel="next"/.exec(first.headers.get('link') ?? '') ?? [];
    const linked = await fetch(new URL(link, api.url), { headers: { authorization: `Bearer ${key}` } });
    const query = { limit: 2, cursor: page.next_cursor };
    const second = await client.call('getMemoryContext', { key, path: { context_id }, query });
    expect(await linked.json()).toEqual(second.json);
    expect(second.json).toMatchObject({ items: [{ user_message: 'question 3' }], next_cursor: null });
  });

  test.each(['turns', 'messages', 'tokens'])('what fits comes as %s', async (format) => {
    const context_id = stack.newContextId();
    for (const n of [1, 2, 3]) await client.call('saveChat', { key, body: turnOf(context_id, n), headers: WAIT });
    const query = { max_tokens: 13, format };
    const recent = await client.call('loadRecentContext', { key, path: { context_id }, query });
    expect(recent.json).toMatchObject({ format, token_count: 12 });
    const { items } = recent.json as { items: unknown[] };
    expect(items).toHaveLength(format === 'messages' ? 4 : 2);
  });

  test('a record comes with its tokens, its reflections with their newest CID', async () => {
    const context_id = stack.newContextId();
    const saved = await client.call('saveChat', { key, body: turnOf(context_id), headers: WAIT });
    const { id } = saved.json as { id: string };
    expect((await client.call('inspect', { key, path: { id } })).json).toMatchObject({
      record: { id, user_message: 'question 1' },
      tokens: { encoding: 'cl100k_base' },
    });
    const body = { context_id, reflection_text: 'Be brief.' };
    const { cid } = (await client.call('saveReflection', { key, body, headers: WAIT })).json as { cid: string };
    const path = { context_id };
    expect((await client.call('getReflections', { key, path })).json).toMatchObject({
      context_id,
      items: [{ cid }],
      next_cursor: null,
      complete: true,
    });
    expect((await client.call('getReflectionCid', { key, path })).json).toEqual({ context_id, cid });
  });

  test('a reflection is asked for', async () => {
    const body = { context_id: stack.newContextId(), user_id: 'ann', focus: 'colours' };
    const asked = await client.call('requestReflection', { key, body });
    expect(asked).toMatchObject({ status: 202, json: { context_id: body.context_id, user_id: 'ann' } });
    const wrong = await client.call('requestReflection', { key, body: { ...body, focus: '' } });
    expect(wrong).toMatchObject({ status: 400, json: { problems: [{ field: 'focus' }] } });
  });

  test('reflections are listed by pages, and traced to what they came from', async () => {
    const context_id = stack.newContextId();
    const turnSaved = await client.call('saveChat', { key, body: turnOf(context_id), headers: WAIT });
    const { id: source } = turnSaved.json as { id: string };
    for (const n of [1, 2]) {
      const body = { context_id, reflection_text: `thought ${n}`, source_ids: [source] };
      await client.call('saveReflection', { key, body, headers: WAIT });
    }
    const first = await client.call('listReflections', { key, query: { context_id, limit: 1 } });
    const page = first.json as { items: { cid: string; previous_cid: string }[]; next_cursor: string };
    expect(page.items).toMatchObject([{ context_id, previous_missing: false, source_ids: [source] }]);
    expect(first.headers.get('link')).toContain('rel="next"');
    const rest = await client.call('listReflections', { key, query: { context_id, cursor: page.next_cursor } });
    expect(rest.json).toMatchObject({ items: [{ cid: page.items[0]?.previous_cid }], next_cursor: null });
    const traced = await client.call('traceReflection', { key, path: { reflection: page.items[0]?.cid ?? '' } });
    const sources = [{ id: source, missing: false, context_id, user_id: 'ann', module: 'chat' }];
    expect(traced.json).toMatchObject({ complete: true, next_cursor: null, items: [{ sources }, { sources }] });
  });

  test('conversations and knowledge are listed by pages', async () => {
    const prefix = `${randomUUID()} `;
    for (const n of [1, 2, 3]) await client.call('saveChat', { key, body: turnOf(`${prefix}${n}`, n), headers: WAIT });
    const first = await client.call('listConversations', { key, query: { prefix, limit: 2 } });
    const page = first.json as { items: { context_id: string }[]; next_cursor: string };
    const rest = await client.call('listConversations', { key, query: { prefix, cursor: page.next_cursor } });
    const all = [page, rest.json as typeof page].flatMap(({ items }) => items);
    expect(all.map(({ context_id }) => context_id)).toEqual([1, 2, 3].map((n) => `${prefix}${n}`));
    for (const n of [1, 2]) {
      const body = { context_id: `${prefix}${n}`, text: `item ${n} of ${prefix}` };
      await client.call('saveKnowledge', { key, body, headers: WAIT });
    }
    const known = await client.call('listKnowledge', { key, query: { query: prefix.trim(), limit: 1 } });
    expect(known.json).toMatchObject({ items: [{ text: `item 2 of ${prefix}` }] });
    const { next_cursor: cursor } = known.json as { next_cursor: string };
    const older = await client.call('listKnowledge', { key, query: { query: prefix.trim(), cursor } });
    expect(older.json).toMatchObject({ items: [{ text: `item 1 of ${prefix}` }] });
  });

  test('a knowledge item is imported from its CID, once', async () => {
    const signer = new Signer(randomBytes(32));
    const job = {
      id: randomUUID(),
      contextId: stack.newContextId(),
      visibility: 'public',
      module: 'knowledge',
    } as const;
    const said = { reflectionText: 'Blue is liked.', createdAt: '2026-01-02T03:04:05.678Z' };
    const bytes = toBytes(createReflectionDocument({ ...job, ...said }, null, signer));
    const cid = await computeCid(bytes);
    await new Ipfs(stack.ipfs.url, 10_000).pin(bytes, cid);
    const body = { cid, user_id: 'ann' };
    const first = await client.call('importKnowledge', { key, body, headers: WAIT });
    expect(first).toMatchObject({ status: 200, json: { id: job.id, cid, conversation_id: job.contextId } });
    expect((await client.call('importKnowledge', { key, body })).json).toMatchObject({ note: 'was here already' });
    const wrong = new TextEncoder().encode('no document');
    const other = await computeCid(wrong);
    await new Ipfs(stack.ipfs.url, 10_000).pin(wrong, other);
    const refused = await client.call('importKnowledge', { key, body: { cid: other } });
    expect(refused).toMatchObject({ status: 422, json: { code: 'unverified', problems: [{ field: 'document' }] } });
  });

  test('a record is found by its words, before and after it is committed', async () => {
    const context_id = stack.newContextId();
    for (const n of [1, 2]) await client.call('saveChat', { key, body: turnOf(context_id, n), headers: WAIT });
    const query = { query: 'question 2', context_id, limit: 1 };
    const fresh = await client.call('search', { key, query });
    expect(fresh.json).toMatchObject({ items: [{ user_message: 'question 2' }], sealed: 0, complete: true });
    await client.call('flushRedisToSupabase', { key, body: {} });
    const { items } = (await client.call('search', { key, query })).json as { items: { score: number }[] };
    expect(items).toMatchObject([{ user_message: 'question 2', score: expect.any(Number) }]);
  });

  test('what is committed is counted by the hour, and exported line by line', async () => {
    const context_id = stack.newContextId();
    for (const n of [1, 2]) {
      const body = { ...turnOf(context_id, n), created_at: `2025-10-19T15:4${n}:00.000Z` };
      await client.call('saveChat', { key, body, headers: WAIT });
    }
    expect((await client.call('flushRedisToSupabase', { key, body: { batch_size: 1 } })).json).toMatchObject({
      success: true,
    });
    const query = { context_id, from: '2025-10-19T00:00:00Z', to: '2025-10-20T00:00:00Z', bucket: 'hour' };
    const trends = await client.call('getTrends', { key, query });
    expect(trends.json).toMatchObject({ items: [{ from: '2025-10-19T15:00:00.000Z', turns: 2 }] });
    for (const format of ['openai', 'sharegpt', 'tokens']) {
      const exported = await client.call('exportTrainingData', { key, query: { context_id, format } });
      expect(exported.headers.get('content-type')).toMatch(/^application\/x-ndjson/);
      expect(
        exported.text
          .trimEnd()
          .split('\n')
          .map((line) => typeof JSON.parse(line)),
      ).toEqual(['object', 'object']);
    }
  });
});

describe('erasing', () => {
  test('a conversation is gone, and what comes late is refused', async () => {
    const context_id = stack.newContextId();
    await client.call('saveChat', { key, body: turnOf(context_id), headers: WAIT });
    const receipt = await client.call('forgetContext', { key, path: { context_id } });
    expect(receipt).toMatchObject({
      status: 200,
      json: { scope: { context_id, user_id: null }, tiers: { pending: 1 } },
    });
    expect((await client.call('getMemoryContext', { key, path: { context_id } })).json).toMatchObject({ items: [] });
    expect(await client.call('saveChat', { key, body: turnOf(context_id) })).toMatchObject({
      status: 409,
      json: { code: 'erased' },
    });
  });

  test('a user is gone from every conversation, and the others are there', async () => {
    const context_id = stack.newContextId();
    const user_id = randomUUID();
    await client.call('saveChat', { key, body: { ...turnOf(context_id), user_id }, headers: WAIT });
    await client.call('saveChat', { key, body: turnOf(context_id, 2), headers: WAIT });
    expect((await client.call('forgetUser', { key, path: { user_id } })).status).toBe(200);
    const left = await client.call('getMemoryContext', { key, path: { context_id } });
    expect(left.json).toMatchObject({ items: [{ user_id: 'ann' }] });
  });
});

test('statistics and health', async () => {
  expect((await client.call('getStats', { key })).json).toMatchObject({ queues: { chat: expect.anything() } });
  for (const id of client.operationIds.filter((each) => /live|ready/i.test(each))) {
    expect((await client.call(id)).status).toBe(200);
  }
});

test('every operation of the document was called with success', () => {
  const untried = client.operationIds.filter((id) => !client.succeeded.has(id) && id !== 'followEvents');
  expect(untried).toEqual([]);
});
