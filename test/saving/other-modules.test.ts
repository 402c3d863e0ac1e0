import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MemoryCore } from '../../producers/index.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';

describe.each([CHOSEN_SUPABASE])('on the %s Supabase', (supabase) => {
  let stack: Stack;
  let memory: MemoryCore;
  beforeAll(async () => {
    stack = await startStack({ supabase });
    memory = stack.memory;
    await stack.startWorkers();
  });
  afterAll(async () => {
    await stack.stop();
  });

  const saveTurn = (contextId: string, userId: string, n: number, createdAt?: string) =>
    memory.saveChat(
      {
        contextId,
        userId,
        userMessage: `question ${n}`,
        assistantMessage: `a longer answer ${n}`,
        ...(createdAt !== undefined && { createdAt }),
      },
      { wait: true },
    );

  describe('one of several users of a conversation', () => {
    test('reads, pages and finds only what is his, cached, committed and expired', async () => {
      const contextId = stack.newContextId();
      const [anna, ben] = [randomUUID(), randomUUID()];
      const ids: Record<string, string[]> = { [anna]: [], [ben]: [] };
      for (let n = 0; n < 30; n += 1) {
        const user = n % 3 === 0 ? anna : ben;
        ids[user]?.push((await saveTurn(contextId, user, n)).id);
      }
      const check = async () => {
        const recent = await memory.loadRecentContext(contextId, { userId: anna, limit: 7 });
        expect(recent.items.map(({ id }) => id)).toEqual(ids[anna]?.slice(-7));
        const all = await memory.loadRecentContext(contextId, { userId: ben, maxTokens: 100_000 });
        expect(all.items.map(({ id }) => id)).toEqual(ids[ben]);
        const paged: string[] = [];
        for (let cursor: string | null | undefined; cursor !== null;) {
          const page = await memory.getMemoryContext(contextId, {
            userId: anna,
            limit: 3,
            ...(cursor !== undefined && { cursor }),
          });
          paged.push(...page.items.map(({ id }) => id));
          cursor = page.nextCursor;
        }
        expect(paged).toEqual(ids[anna]);
        expect((await memory.getMemoryContext(contextId, { userId: randomUUID() })).items).toEqual([]);
        const id = ids[ben]?.[0] ?? '';
        await expect(memory.inspect(id, { userId: anna })).rejects.toMatchObject({ code: 'not_found' });
        await expect(memory.getStatus(id, { userId: anna })).rejects.toMatchObject({ code: 'not_found' });
        expect((await memory.inspect(id, { userId: ben })).record.userId).toBe(ben);
        expect((await memory.getStatus(id, { userId: ben })).id).toBe(id);
      };
      await check();
      await memory.flushRedisToSupabase();
      await check();
      ids[anna]?.push((await saveTurn(contextId, anna, 30)).id);
      await check();
      await memory.flushRedisToSupabase();
      await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`);
      await check();
    });

    test('sees his own reflections and verifies his own CIDs', async () => {
      const contextId = stack.newContextId();
      const [anna, ben] = [randomUUID(), randomUUID()];
      const mine = await memory.saveReflection(
        { contextId, userId: anna, reflectionText: 'Be brief.' },
        { wait: true },
      );
      const his = await memory.saveReflection({ contextId, userId: ben, reflectionText: 'Ask more.' }, { wait: true });
      expect((await memory.getReflections(contextId, { userId: anna })).items.map(({ cid }) => cid)).toEqual([
        mine.cid,
      ]);
      expect(await memory.getReflectionCid(contextId, { userId: ben })).toBe(his.cid);
      expect((await memory.verify(mine.cid ?? '', { userId: anna })).ok).toBe(true);
      await expect(memory.verify(his.cid ?? '', { userId: anna })).rejects.toMatchObject({ code: 'not_found' });
      await expect(memory.getStatus(his.id, { userId: anna })).rejects.toMatchObject({ code: 'not_found' });
      expect((await memory.getStatus(his.id, { userId: ben })).status).toBe('pinned');
    });
  });

  test('fine-tune outputs and knowledge are committed, pinned and verified, and are no reflections', async () => {
    const contextId = stack.newContextId();
    const userId = randomUUID();
    const tuned = await memory.saveFinetuneOutput({ contextId, userId, text: 'Model card: 三回合' }, { wait: true });
    const known = await memory.saveKnowledge(
      { contextId, userId, text: `Frost ends in May ${contextId}` },
      { wait: true },
    );
    expect((await memory.verify(tuned.cid ?? '')).ok).toBe(true);
    expect((await memory.verify(known.cid ?? '')).ok).toBe(true);
    expect(await memory.getReflections(contextId)).toMatchObject({ contextId, items: [], nextCursor: null });
    const { items: records } = await memory.getMemoryContext(contextId);
    expect(records.map(({ module, text }) => [module, text])).toEqual([
      ['finetune', 'Model card: 三回合'],
      ['knowledge', `Frost ends in May ${contextId}`],
    ]);
    expect((await memory.getStatus(known.id)).status).toBe('pinned');
  });

  test('a job that would keep knowledge private is refused by name of the field', async () => {
    const data = {
      id: randomUUID(),
      contextId: stack.newContextId(),
      reflectionText: 'x',
      visibility: 'private',
      module: 'knowledge',
      createdAt: new Date().toISOString(),
    };
    const job = await stack.queue('reflection').add('reflection', data, { jobId: data.id });
    await stack.idle('reflection');
    expect((await stack.queue('reflection').getJob(job.id ?? ''))?.failedReason).toContain(
      'visibility: expected public',
    );
  });

  test('knowledge is listed newest first, by what it contains, page by page, to a user his and nobody’s', async () => {
    const contextId = stack.newContextId();
    const mark = randomUUID();
    const [anna, ben] = [randomUUID(), randomUUID()];
    const save = (text: string, userId?: string) =>
      memory.saveKnowledge(
        { contextId, text: `${text} ${mark}`, ...(userId !== undefined && { userId }) },
        { wait: true },
      );
    const first = await save('Tomatoes like SUN', anna);
    const second = await save('番茄喜歡太陽', ben);
    const third = await save('Sun is free');
    const list = async (options: object) => (await memory.listKnowledge(options)).items.map(({ id }) => id);
    expect(await list({ query: mark })).toEqual([third.id, second.id, first.id]);
    expect(await list({ query: `sun ${mark}` })).toEqual([first.id]);
    expect(await list({ query: mark, userId: anna })).toEqual([third.id, first.id]);
    const page = await memory.listKnowledge({ query: mark, limit: 2 });
    expect(page.items.map(({ text }) => text)).toEqual([`Sun is free ${mark}`, `番茄喜歡太陽 ${mark}`]);
    expect(await list({ query: mark, cursor: page.nextCursor })).toEqual([first.id]);
  });

  test('conversations are listed by prefix, cached and committed, to a user those he has records in', async () => {
    const prefix = `${randomUUID()} %_,()`;
    const [anna, ben] = [randomUUID(), randomUUID()];
    const names = ['b', 'a', '中', 'Z', '😀'].map((name) => `${prefix}${name}`);
    const inOrder = ['Z', 'a', 'b', '中', '😀'].map((name) => `${prefix}${name}`);
    for (const [n, name] of names.entries()) await saveTurn(name, n === 0 ? anna : ben, n);
    const list = async (options: object = {}) =>
      (await memory.listConversations({ prefix, ...options })).items.map(({ contextId }) => contextId);
    expect(await list()).toEqual(inOrder);
    await memory.flushRedisToSupabase();
    await saveTurn(`${prefix}new`, anna, 6);
    expect(await list()).toEqual([...inOrder.slice(0, 3), `${prefix}new`, ...inOrder.slice(3)]);
    expect(await list({ userId: anna })).toEqual([`${prefix}b`, `${prefix}new`]);
    const page = await memory.listConversations({ prefix, limit: 2 });
    expect(page.items.map(({ lastCreatedAt }) => typeof lastCreatedAt)).toEqual(['string', 'string']);
    expect(await list({ cursor: page.nextCursor })).toHaveLength(4);
  });
});
