import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Ipfs } from '../../shared/pinning/ipfs.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { fromBytes } from '../../shared/pinning/reflection-document.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';
import { moment, turn } from '../support/inputs/turns.ts';

describe.each([CHOSEN_SUPABASE])('where reflections come from, on the %s Supabase', (supabase) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ supabase });
    await stack.startWorkers();
  });
  afterAll(() => stack.stop());

  interface Saved {
    id: string;
    cid: string;
  }

  async function reflect(contextId: string, n: number, more: object = {}): Promise<Saved> {
    const input = { contextId, userId: 'user-1', reflectionText: `thought ${n}`, createdAt: moment(n), ...more };
    const { id, cid } = await stack.memory.saveReflection(input, { wait: true });
    return { id, cid: cid ?? '' };
  }

  async function rowOf(id: string): Promise<ReflectionRow> {
    return (await stack.supabase.from('memory_reflections').select('*').eq('id', id).single()).data;
  }

  test('each names the one before it, of its own module, conversation and user, in its row and on IPFS', async () => {
    const [contextId, elsewhere] = [stack.newContextId(), stack.newContextId()];
    const first = await reflect(contextId, 1);
    await reflect(contextId, 2, { userId: 'user-2' });
    await reflect(contextId, 3, { userId: undefined });
    await reflect(elsewhere, 4);
    await stack.memory.saveKnowledge({ contextId, userId: 'user-1', text: 'k', createdAt: moment(5) }, { wait: true });
    const second = await reflect(contextId, 6);
    expect((await rowOf(first.id)).previous_cid).toBeNull();
    expect((await rowOf(second.id)).previous_cid).toBe(first.cid);
    const ipfs = new Ipfs(stack.ipfs.url, 5_000);
    expect(fromBytes(await ipfs.fetch(second.cid, 100_000)).previousCid).toBe(first.cid);
    expect(fromBytes(await ipfs.fetch(first.cid, 100_000))).not.toHaveProperty('previousCid');
    for (const { cid } of [first, second]) expect(await stack.memory.verify(cid)).toMatchObject({ ok: true });
  });

  test('of those between two and not after: one that comes late names the one before its own time', async () => {
    const contextId = stack.newContextId();
    const first = await reflect(contextId, 1);
    const third = await reflect(contextId, 3);
    const second = await reflect(contextId, 2);
    expect((await rowOf(second.id)).previous_cid).toBe(first.cid);
    expect((await rowOf(third.id)).previous_cid).toBe(first.cid);
  });

  test.each(['private', 'public'] as const)(
    'a retry makes the same %s document, whatever came since',
    async (visibility) => {
      const contextId = stack.newContextId();
      const first = await reflect(contextId, 1);
      let failing = true;
      stack.proxy.fault = ({ method, url }) =>
        failing && method === 'PATCH' && url.includes('/memories') ? { status: 503 } : null;
      const input = { contextId, userId: 'user-1', reflectionText: 'late', createdAt: moment(9), visibility };
      const { id } = await stack.memory.saveReflection(input);
      await eventually(async () => ((await stack.queue('reflection').getJob(id))?.attemptsStarted ?? 0) >= 1);
      await eventually(
        async () => (await stack.supabase.from('memory_reflections').select().eq('id', id)).data?.length === 1,
      );
      const before = await rowOf(id);
      // Earlier by its time, and after the row above: whoever looks now finds another one before it.
      const row = { ...before, id: randomUUID(), cid: 'bafkreiearlier', created_at: moment(8) };
      const { id: earlier } = await stack.memory.saveChat(turn(contextId, 8, { important: true }), { wait: true });
      await stack.supabase
        .from('memory_reflections')
        .insert({ ...row, id: earlier })
        .throwOnError();
      failing = false;
      await eventually(async () => (await stack.memory.getStatus(id)).status === 'pinned');
      stack.proxy.fault = () => null;
      expect(await rowOf(id)).toMatchObject({ previous_cid: first.cid, cid: before.cid });
      expect(await stack.memory.verify(before.cid)).toMatchObject({ ok: true });
    },
  );

  test('a row that names another one before it than its document does not verify', async () => {
    const { id, cid } = await reflect(stack.newContextId(), 1);
    await stack.supabase.from('memory_reflections').update({ previous_cid: cid }).eq('id', id).throwOnError();
    const { ok, checks } = await stack.memory.verify(cid);
    expect([ok, checks.find(({ name }) => name === 'row')?.detail]).toEqual([false, 'differs in previous CID']);
  });

  test('the index answers by conversation, user, time, kind and CID, by pages, newest first', async () => {
    const contextId = stack.newContextId();
    const saved: Saved[] = [];
    for (const n of [1, 2, 3]) saved.push(await reflect(contextId, n, { userId: `${contextId} a` }));
    const other = await reflect(contextId, 4, { userId: `${contextId} b` });
    const [first, second, third] = saved as [Saved, Saved, Saved];
    const cids = async (options: Parameters<typeof stack.memory.listReflections>[0]) =>
      (await stack.memory.listReflections(options)).items.map(({ cid }) => cid);
    expect(await cids({ contextId })).toEqual([other.cid, third.cid, second.cid, first.cid]);
    expect(await cids({ userId: `${contextId} a` })).toEqual([third.cid, second.cid, first.cid]);
    expect(await cids({ contextId, from: moment(2), to: moment(4) })).toEqual([third.cid, second.cid]);
    expect(await cids({ contextId, module: 'knowledge' })).toEqual([]);
    expect(await cids({ cid: second.cid })).toEqual([second.cid]);
    expect(await cids({ cid: second.cid, userId: `${contextId} b` })).toEqual([]);
    const page = await stack.memory.listReflections({ contextId, limit: 3 });
    const rest = await stack.memory.listReflections({ contextId, limit: 3, cursor: page.nextCursor ?? '' });
    expect(rest).toMatchObject({ items: [{ cid: first.cid, previousMissing: null }], nextCursor: null });
    expect(page.items.map(({ previousMissing }) => previousMissing)).toEqual([null, false, false]);
    expect(page.items[1]).toMatchObject({ contextId, module: 'reflection', previousCid: second.cid });
  });

  test('a trace leads to the sources, committed or not, and back from one to the one before', async () => {
    const contextId = stack.newContextId();
    const pending = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    const committed = await stack.memory.saveChat(turn(contextId, 2, { important: true }), { wait: true });
    const first = await reflect(contextId, 3, { sourceIds: [pending.id] });
    const second = await reflect(contextId, 4, { sourceIds: [committed.id, pending.id] });
    const trace = await stack.memory.traceReflection(second.cid);
    expect(trace).toMatchObject({ complete: true, nextCursor: null });
    expect(trace.items.map(({ cid, sources }) => [cid, sources.map(({ id, createdAt }) => [id, createdAt])])).toEqual([
      [
        second.cid,
        [
          [committed.id, moment(2)],
          [pending.id, moment(1)],
        ],
      ],
      [first.cid, [[pending.id, moment(1)]]],
    ]);
    expect(await stack.memory.traceReflection(second.id)).toEqual(trace);
    const one = await stack.memory.traceReflection(second.cid, { limit: 1 });
    expect([one.items.length, one.nextCursor]).toEqual([1, first.cid]);
    const rest = await stack.memory.traceReflection(second.cid, { cursor: one.nextCursor ?? '' });
    expect([rest.items.map(({ cid }) => cid), rest.nextCursor]).toEqual([[first.cid], null]);
  });

  test('a missing link and a missing source show', async () => {
    const contextId = stack.newContextId();
    const theirs = await stack.memory.saveChat(turn(contextId, 1, { userId: 'user-2', important: true }), {
      wait: true,
    });
    const chain: Saved[] = [];
    for (const n of [2, 3, 4]) chain.push(await reflect(contextId, n, { sourceIds: [theirs.id] }));
    const [, second, third] = chain as [Saved, Saved, Saved];
    await stack.memory.forget({ contextId, userId: 'user-2' });
    await stack.supabase.from('memories').delete().eq('id', second.id).throwOnError();
    const { items, complete, nextCursor } = await stack.memory.traceReflection(third.cid);
    expect([complete, nextCursor]).toEqual([false, null]);
    expect(items).toMatchObject([
      { cid: third.cid, missing: false, sources: [{ id: theirs.id, missing: true, createdAt: null }] },
      { cid: second.cid, missing: true, reflection: null, sources: [] },
    ]);
    const { items: reflections } = await stack.memory.listReflections({ contextId });
    expect(reflections.map(({ previousMissing }) => previousMissing)).toEqual([true, null]);
  });

  test('one user sees neither the trace of another nor the sources that are of another', async () => {
    const contextId = stack.newContextId();
    const theirs = await stack.memory.saveChat(turn(contextId, 1, { userId: 'user-2' }), { wait: true });
    const { cid, id } = await reflect(contextId, 2, { sourceIds: [theirs.id] });
    for (const address of [cid, id]) {
      const asked = stack.memory.traceReflection(address, { userId: 'user-2' });
      await expect(asked).rejects.toMatchObject({ code: 'not_found' });
    }
    const own = await stack.memory.traceReflection(cid, { userId: 'user-1' });
    expect(own.items).toMatchObject([{ cid, sources: [{ id: theirs.id, missing: true, userId: null }] }]);
    expect((await stack.memory.traceReflection(cid)).items).toMatchObject([{ sources: [{ userId: 'user-2' }] }]);
  });
});
