/**
 * **test/keeping/**: what is done to records long after they were saved: they are erased, sealed with another key, archived and
 * restored.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import canonicalize from 'canonicalize';
import { verifySignature } from '../../shared/secrets/signing.ts';
import { encode } from '../../shared/records/tokenizer.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';

/** Every byte of every key of a Redis, as text. */
async function redisContent({ client }: Stack): Promise<string> {
  const keys = await client.keys('*');
  const dumps = await Promise.all(keys.map((key) => readKey(client, key)));
  return JSON.stringify([keys, dumps]);
}

async function readKey(client: Stack['client'], key: string): Promise<unknown> {
  const readers: Record<string, () => Promise<unknown>> = {
    string: () => client.get(key),
    hash: () => client.hgetall(key),
    list: () => client.lrange(key, 0, -1),
    set: () => client.smembers(key),
    zset: () => client.zrange(key, '0', '-1'),
    stream: () => client.xrange(key, '-', '+'),
  };
  return readers[await client.type(key)]?.();
}

function filesUnder(dir: string): string {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map((file) => readFileSync(path.join(file.parentPath, file.name), 'latin1')).join('\n');
}

describe.each([CHOSEN_SUPABASE])('on the %s Supabase', (supabase) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ supabase });
    await stack.startWorkers();
  });
  afterAll(async () => {
    await stack.stop();
  });

  const rows = async (table: string, column: string, value: string) =>
    (await stack.supabase.from(table).select('*').eq(column, value)).data ?? [];

  test('a user is gone from every store, byte by byte, and the others are untouched', async () => {
    const { memory } = stack;
    const contextId = stack.newContextId();
    const [anna, ben] = [randomUUID(), randomUUID()];
    const secret = `tangerine-${randomUUID()}`;
    const say = (userId: string, text: string) =>
      memory.saveChat({ contextId, userId, userMessage: text, assistantMessage: `re: ${text}` }, { wait: true });
    await say(anna, `${secret} committed`);
    const kept = await say(ben, 'mine stays');
    await memory.flushRedisToSupabase();
    const hidden = await memory.saveReflection({ contextId, userId: anna, reflectionText: secret }, { wait: true });
    const open = await memory.saveKnowledge({ contextId, userId: anna, text: `open ${secret}` }, { wait: true });
    const refused = {
      ...(await rows('memories', 'user_id', anna))[0],
      id: randomUUID(),
      text_cache: `${secret} refused`,
    };
    const { id, user_id, context_id, tokens, text_cache, module, cid, created_at } = refused;
    const row = {
      id,
      user_id,
      context_id,
      tokens,
      text_cache,
      module,
      cid,
      created_at: new Date(created_at).toISOString(),
    };
    await stack
      .queue('quarantine')
      .add('quarantine', { row, error: { code: '22021', message: 'no' } }, { jobId: row.id });
    await stack.idle('quarantine');
    await stack.queue('chat').add('chat', { userId: anna, userMessage: `${secret} malformed` });
    await stack.idle('chat');
    await stack.queue('chat').add(
      'chat',
      {
        id: randomUUID(),
        contextId,
        userId: anna,
        userMessage: `${secret} delayed`,
        assistantMessage: 'x',
        createdAt: new Date().toISOString(),
      },
      { delay: 3_600_000 },
    );
    await say(anna, `${secret} pending`);
    const wrapped = (await rows('memory_reflections', 'id', hidden.id))[0]?.wrapped_key as string;
    const base64 = Buffer.from(secret).toString('base64').slice(0, 24);
    const traces = [secret, base64, JSON.stringify(encode(secret, 'cl100k_base')).slice(1, -1), wrapped];
    const content = async () => {
      const stored = await Promise.all(
        ['memories', 'memory_reflections'].map((table) => rows(table, 'context_id', contextId)),
      );
      return [
        await redisContent(stack),
        JSON.stringify(stored),
        filesUnder(path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'ipfs')),
      ];
    };
    // Each trace but the base64 is there to be found at first.
    const before = (await content()).join('\n');
    for (const trace of traces) expect([trace, before.includes(trace)]).toEqual([trace, trace !== base64]);

    const receipt = await memory.forget({ userId: anna });

    for (const [i, store] of (await content()).entries()) {
      for (const trace of traces) expect([i, trace, store.includes(trace)]).toEqual([i, trace, false]);
    }
    expect(await rows('memories', 'user_id', anna)).toEqual([]);
    expect((await memory.getMemoryContext(contextId)).items.map((record) => record.id)).toEqual([kept.id]);
    expect(receipt.tiers).toMatchObject({ pending: 1, committed: 3, keysDestroyed: 1, unpinned: 2 });
    expect(receipt.tiers.jobs).toBeGreaterThanOrEqual(3);
    const { signature, signingKey, ...signed } = receipt;
    expect(verifySignature(canonicalize(signed) ?? '', signature ?? '', signingKey ?? '')).toBe(true);
    await expect(memory.verify(open.cid ?? '')).resolves.toMatchObject({ ok: false });
    expect((await memory.forget({ userId: anna })).tiers).toEqual({
      jobs: 0,
      cached: 0,
      pending: 0,
      committed: 0,
      keysDestroyed: 0,
      unpinned: 0,
      events: 0,
    });
  });

  test('what comes late is refused at both doors, and taken again once the erasure is lifted', async () => {
    const { memory } = stack;
    const contextId = stack.newContextId();
    const userId = randomUUID();
    await memory.forget({ userId });
    const turn = { contextId, userId, userMessage: 'late', assistantMessage: 'late too' };
    await expect(memory.saveChat(turn)).rejects.toMatchObject({ code: 'erased' });
    await expect(memory.saveChats([turn])).rejects.toMatchObject({ code: 'erased' });
    await expect(memory.saveReflection({ contextId, userId, reflectionText: 'late' })).rejects.toMatchObject({
      code: 'erased',
    });
    const id = randomUUID();
    await stack.queue('chat').add('chat', { ...turn, id, createdAt: new Date().toISOString() }, { jobId: id });
    await stack.idle('chat');
    expect((await stack.queue('chat').getJob(id))?.data).toEqual({ id });
    expect((await memory.getMemoryContext(contextId)).items).toEqual([]);
    expect(await memory.liftErasure({ userId })).toBe(true);
    expect(await memory.liftErasure({ userId })).toBe(false);
    const saved = await memory.saveChat(turn, { wait: true });
    expect((await memory.getMemoryContext(contextId)).items.map((record) => record.id)).toEqual([saved.id]);
  });

  test('a reflection that was committed and waits for its pin is refused as well when it comes late', async () => {
    const [contextId, userId, id] = [stack.newContextId(), randomUUID(), randomUUID()];
    await stack.memory.forget({ userId });
    const reflection = { id, contextId, userId, reflectionText: 'late', visibility: 'private' };
    const data = { ...reflection, createdAt: new Date().toISOString() };
    const job = await stack.queue('reflection').add('reflection', data, { jobId: id, delay: 3_600_000 });
    await job.updateProgress({ step: 'committed' }); // as an earlier attempt leaves it that did not get to the IPFS node
    await job.promote();
    await stack.idle('reflection');
    expect((await stack.queue('reflection').getJob(id))?.data).toEqual({ id });
    expect(await rows('memory_reflections', 'id', id)).toEqual([]);
  });

  test('a conversation is erased while turns of it and of others flow and are flushed', async () => {
    const { memory } = stack;
    const [contextId, other] = [stack.newContextId(), stack.newContextId()];
    const userId = randomUUID();
    const kept: string[] = [];
    const over = new AbortController();
    const flows = [contextId, contextId, other, other].map(async (conversation) => {
      for (let n = 0; !over.signal.aborted; n += 1) {
        const turn = {
          contextId: conversation,
          userId,
          userMessage: `turn ${n}`,
          assistantMessage: 'yes',
          important: n % 3 === 0,
        };
        const saved = await memory.saveChat(turn, { wait: true }).catch(() => null);
        if (saved && conversation === other) kept.push(saved.id);
      }
    });
    const flushes = (async () => {
      while (!over.signal.aborted) await memory.flushRedisToSupabase();
    })();
    await eventually(async () => (await rows('memories', 'context_id', contextId)).length > 20);
    await memory.forget({ contextId });
    over.abort();
    await Promise.all([...flows, flushes]);
    await memory.flushRedisToSupabase();
    expect(await rows('memories', 'context_id', contextId)).toEqual([]);
    expect((await memory.getMemoryContext(contextId)).items).toEqual([]);
    const { items: records } = await memory.getMemoryContext(other, { limit: 1000 });
    expect(new Set(records.map(({ id }) => id))).toEqual(new Set(kept));
  });

  test('a user in one conversation keeps his other ones, and may go on', async () => {
    const { memory } = stack;
    const [here, there] = [stack.newContextId(), stack.newContextId()];
    const userId = randomUUID();
    const save = (contextId: string) =>
      memory.saveChat({ contextId, userId, userMessage: 'a', assistantMessage: 'b' }, { wait: true });
    await save(here);
    const elsewhere = await save(there);
    await memory.forget({ userId, contextId: here });
    expect((await memory.getMemoryContext(here)).items).toEqual([]);
    expect((await memory.getMemoryContext(there)).items.map(({ id }) => id)).toEqual([elsewhere.id]);
    await save(here);
    expect((await memory.getMemoryContext(here)).items).toHaveLength(1);
  });

  test.each([
    ['records that are no list', { data: { records: 5 } }],
    ['a record that is null', { data: { records: [null] } }],
    ['a row that is a text', { row: 'row' }],
    ['a text for all data', 'data'],
  ])('%s in a job of another client does not stop an erasure', async (_name, data) => {
    const userId = randomUUID();
    const queue = stack.queue('webhook');
    const odd = await queue.add('webhook', data);
    const own = await queue.add('webhook', { data: { contextId: 'c', records: [{ userId }] } });
    expect((await stack.memory.forget({ userId })).tiers.jobs).toBe(1);
    expect(await queue.getJob(own.id ?? '')).toBeUndefined();
    expect(await queue.getJob(odd.id ?? '')).toBeDefined();
    await odd.remove();
  });

  test('with Supabase away it fails, and is finished by running it again', async () => {
    const { memory } = stack;
    const contextId = stack.newContextId();
    await memory.saveReflection({ contextId, reflectionText: 'to be forgotten' }, { wait: true });
    stack.proxy.fault = () => ({ status: 503 });
    await expect(memory.forget({ contextId })).rejects.toMatchObject({ code: 'supabase_unavailable' });
    stack.proxy.fault = () => null;
    expect((await memory.forget({ contextId })).tiers).toMatchObject({ committed: 1, keysDestroyed: 1, unpinned: 1 });
  });

  test('without a scope it is refused', async () => {
    await expect(stack.memory.forget({})).rejects.toMatchObject({ code: 'invalid_input' });
  });
});
