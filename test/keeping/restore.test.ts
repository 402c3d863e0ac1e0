import { randomBytes, randomUUID } from 'node:crypto';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeCar } from '../../cli/commands/keeping/car-file.ts';
import { type ArchiveOptions, MemoryCore } from '../../producers/index.ts';
import { Ipfs } from '../../shared/pinning/ipfs.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import { runCommand } from '../support/clients/command.ts';
import { startFaultProxy } from '../support/faults/fault-proxy.ts';
import { type Postgrest, startPostgrest } from '../support/services/postgrest.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';
import { turn } from '../support/inputs/turns.ts';

const WAIT = { wait: true } as const;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-restore-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

describe.each([CHOSEN_SUPABASE])('on the %s Supabase', (supabase) => {
  let stack: Stack;
  /** A Supabase of its own: what is counted here is counted over all conversations. */
  let own: Postgrest | null = null;
  beforeAll(async () => {
    if (supabase === 'postgrest') own = await startPostgrest();
    stack = await startStack({
      supabase: own ? { ...own, name: supabase } : supabase,
      environment: { MEMORY_SHORT_TERM_LIMIT: '5' },
    });
    await stack.startWorkers();
  });
  afterAll(async () => {
    await stack.stop();
    await own?.stop();
  });

  const rowsOf = async (userId: string) => {
    const [memories, reflections] = await Promise.all(
      ['memories', 'memory_reflections'].map(async (table) => {
        const answer = await stack.supabase
          .from(table)
          .select('*')
          .eq('user_id', userId)
          .order('created_at')
          .order('id');
        return answer.data ?? [];
      }),
    );
    return { memories: memories ?? [], reflections: reflections ?? [] };
  };
  /** But for the text cache, which is sealed anew with another IV. */
  const comparable = ({ memories, reflections }: Awaited<ReturnType<typeof rowsOf>>) => ({
    memories: memories.map(({ text_cache: _sealed, ...row }) => row),
    reflections,
  });
  /** The rows are gone, as from a database that was lost; what is on IPFS is there. */
  const loseRows = async (userId: string) => {
    await stack.supabase.from('memories').delete().eq('user_id', userId);
    await stack.client.flushall();
  };

  describe('an empty Redis', () => {
    const from = '7002-01-01T00:00:00Z';
    const contexts: string[] = [];
    beforeAll(async () => {
      for (const count of [1, 3, 8]) {
        const contextId = stack.newContextId();
        contexts.push(contextId);
        const turns = Array.from({ length: count }, (_, n) => ({
          ...turn(contextId, n),
          createdAt: new Date(Date.parse(from) + n * 1000).toISOString(),
        }));
        await stack.memory.saveChats(turns);
      }
      await stack.idle('chat');
      await stack.memory.flushRedisToSupabase();
    });

    test('is filled with the newest of each conversation, with counts that match, and again changes nothing', async () => {
      const before = await Promise.all(contexts.map((contextId) => stack.memory.loadRecentContext(contextId)));
      await stack.client.flushall();
      const result = await stack.memory.restoreCache({ from });
      expect(result).toEqual({ conversations: 3, total: 3, filled: 3, records: 1 + 3 + 5 });
      for (const [n, contextId] of contexts.entries()) {
        expect(await stack.client.zcard(`memory:order:${contextId}`)).toBe([1, 3, 5][n]);
        expect(await stack.client.pttl(`memory:conversation:${contextId}`)).toBeGreaterThan(0);
      }
      expect(await stack.memory.restoreCache({ from })).toEqual({ ...result, filled: 0 });
      // From Redis alone: Supabase is away.
      stack.proxy.fault = () => ({ status: 503 });
      const after = await Promise.all(
        contexts.map((contextId) => stack.memory.loadRecentContext(contextId, { limit: 5 })),
      );
      stack.proxy.fault = () => null;
      expect(after.map(({ items }) => items)).toEqual(before.map(({ items }) => items.slice(-5)));
    });

    test('is filled by the command, also after it was stopped half way, and while turns flow', async () => {
      await stack.client.flushall();
      let looked = 0;
      stack.proxy.fault = ({ url }) => (url.includes('memories?') && (looked += 1) > 1 ? { status: 503 } : null);
      await expect(stack.memory.restoreCache({ from })).rejects.toMatchObject({ code: 'supabase_unavailable' });
      stack.proxy.fault = () => null;
      const [contextId = ''] = contexts;
      const late = { ...turn(contextId, 99), createdAt: new Date(Date.parse(from) + 99_000).toISOString() };
      const { id } = await stack.memory.saveChat(late, WAIT);
      const args = ['restore', '--from', from, '--json'];
      const { code, stdout, stderr } = await runCommand(args, { environment: stack.environment });
      expect([code, stderr, JSON.parse(stdout)]).toMatchObject([0, '', { conversations: 3, records: 2 + 3 + 5 }]);
      expect((await stack.memory.loadRecentContext(contextId)).items.at(-1)).toMatchObject({ id });
      await stack.memory.flushRedisToSupabase();
    });

    test('that is nearly full is not filled up', async () => {
      await stack.client.flushall();
      const memory = new MemoryCore({ ...stack.environment, MEMORY_REDIS_MAX_USED_PERCENT: '1' });
      await stack.client.config('SET', 'maxmemory', '4mb');
      await expect(memory.restoreCache({ from })).rejects.toMatchObject({ code: 'redis_full' });
      await stack.client.config('SET', 'maxmemory', '0');
      await memory.close();
    });
  });

  describe('rows that Supabase has lost', () => {
    let file: string;
    let userId: string;
    let contextId: string;
    let before: Awaited<ReturnType<typeof rowsOf>>;
    const cidsOf = () => before.reflections.map(({ cid }) => cid as string);
    const archive = async (name: string, options: ArchiveOptions) => {
      const written = path.join(dir, `${supabase}-${name}.car`);
      rmSync(written, { force: true });
      await writeCar(written, stack.memory.exportArchive(options), () => undefined);
      return written;
    };
    const restore = async (memory = stack.memory) => memory.restoreArchive(createReadStream(file));
    beforeAll(async () => {
      [userId, contextId] = [randomUUID(), stack.newContextId()];
      const save = { contextId, userId };
      const source = await stack.memory.saveChat({ ...turn(contextId, 1), userId: 'somebody else' }, WAIT);
      await stack.memory.saveReflection(
        { ...save, reflectionText: '下次先問清楚預算。', sourceIds: [source.id] },
        WAIT,
      );
      await stack.memory.saveReflection({ ...save, reflectionText: 'x'.repeat(400_000) }, WAIT);
      await stack.memory.saveKnowledge({ ...save, text: 'Water boils at 100 °C.' }, WAIT);
      await stack.memory.saveFinetuneOutput({ ...save, text: 'loss 0.1' }, WAIT);
      before = await rowsOf(userId);
      file = await archive('whole', { userId, withKeys: true });
    });

    test('are made again as they were, from an archive with keys; they verify, and again changes nothing', async () => {
      await loseRows(userId);
      expect(await rowsOf(userId)).toEqual({ memories: [], reflections: [] });
      const args = ['restore', '--car', file, '--json'];
      const { code, stdout, stderr } = await runCommand(args, { environment: stack.environment });
      const counts = { documents: 4, restored: 4, present: 0, missing: 0, refused: 0, unreadable: 0, erased: 0 };
      expect([code, stderr, JSON.parse(stdout)]).toEqual([0, '', { ...counts, failures: [] }]);
      expect(comparable(await rowsOf(userId))).toEqual(comparable(before));
      for (const cid of cidsOf()) expect((await stack.memory.verify(cid)).ok).toBe(true);
      const { items: records } = await stack.memory.getMemoryContext(contextId, { userId });
      expect(records.map(({ text }) => text?.slice(0, 20))).toContain('下次先問清楚預算。');
      expect(await restore()).toMatchObject({ ...counts, restored: 0, present: 4 });
      expect(comparable(await rowsOf(userId))).toEqual(comparable(before));
    });

    test('are all there after it broke off half way and ran again, and pinned where the node had lost them', async () => {
      await loseRows(userId);
      const ipfs = new Ipfs(stack.ipfs.url, 10_000);
      for (const cid of cidsOf()) await ipfs.unpin(cid);
      const node = await startFaultProxy(stack.ipfs.url);
      const memory = new MemoryCore({ ...stack.environment, IPFS_API_URL: node.url });
      let added = 0;
      node.fault = ({ url }) => (url.includes('/add') && (added += 1) > 2 ? 'reset' : null);
      await expect(restore(memory)).rejects.toMatchObject({ code: 'ipfs_unavailable' });
      node.fault = () => null;
      expect(await restore(memory)).toMatchObject({ documents: 4, restored: 4 });
      await memory.close();
      await node.stop();
      expect(comparable(await rowsOf(userId))).toEqual(comparable(before));
      for (const cid of cidsOf()) expect(await ipfs.isPinned(cid)).toBe(true);
    });

    test('are seen at once in a conversation that was cached without them', async () => {
      await loseRows(userId);
      expect((await stack.memory.loadRecentContext(contextId)).items).toEqual([]);
      await restore();
      expect((await stack.memory.loadRecentContext(contextId)).items).toHaveLength(4);
    });

    test('without keys only what is public comes back, and the rest is told', async () => {
      const bare = await archive('bare', { userId });
      await loseRows(userId);
      const { code, stdout, stderr } = await runCommand(['restore', '--car', bare], { environment: stack.environment });
      expect([code, stdout]).toEqual([1, '1 of 4 documents restored, 3 unreadable\n']);
      expect(stderr).toContain('unreadable: private, and its wrapped key did not come with it');
      const { data } = await stack.supabase.from('memories').select('*').eq('context_id', contextId);
      expect(data).toMatchObject([{ module: 'knowledge', user_id: null }]);
      await stack.supabase.from('memories').delete().eq('context_id', contextId);
    });

    test('public ones come back from their CIDs alone', async () => {
      await loseRows(userId);
      const list = path.join(dir, `${supabase}-cids`);
      writeFileSync(list, `# what was published\n\n${cidsOf().join('\n')}\n`);
      const args = ['restore', '--cids', list, '--json'];
      const { code, stdout } = await runCommand(args, { environment: stack.environment });
      expect([code, JSON.parse(stdout)]).toMatchObject([1, { documents: 4, restored: 1, unreadable: 3 }]);
      await stack.supabase.from('memories').delete().eq('context_id', contextId);
    });

    test('of another signer come back only where its key is trusted', async () => {
      await loseRows(userId);
      const seed = stack.environment['MEMORY_SIGNING_KEY'] ?? '';
      const { publicKey } = new Signer(Buffer.from(seed, 'base64'));
      const other = { ...stack.environment, MEMORY_SIGNING_KEY: randomBytes(32).toString('base64') };
      const memory = new MemoryCore(other);
      expect(await restore(memory)).toMatchObject({ restored: 0, refused: 4 });
      expect((await rowsOf(userId)).memories).toEqual([]);
      const trusting = memory.restoreArchive(createReadStream(file), { trustedKeys: [publicKey] });
      expect(await trusting).toMatchObject({ restored: 4, refused: 0 });
      await memory.close();
    });

    test('under an id that another record has meanwhile are refused, and that one stays', async () => {
      await loseRows(userId);
      const id = before.memories[0]?.id as string;
      const taken = await stack.memory.saveChat({ ...turn(stack.newContextId(), 1), id, important: true }, WAIT);
      expect(taken.supabaseStored).toBe(true);
      const { restored, refused, failures } = await restore();
      expect([restored, refused, failures[0]?.reason]).toEqual([3, 1, 'another record has its id; that one stays']);
      expect((await stack.memory.inspect(id)).record).toMatchObject({ module: 'chat', cid: null });
      await stack.supabase.from('memories').delete().eq('id', id);
    });

    test('of an erased user stay erased, also where he is erased while they come back', async () => {
      await restore();
      await stack.memory.forget({ userId });
      expect(await restore()).toMatchObject({ documents: 4, restored: 0, erased: 4 });
      expect(await rowsOf(userId)).toEqual({ memories: [], reflections: [] });
      await stack.memory.liftErasure({ userId });
      const node = await startFaultProxy(stack.ipfs.url);
      const memory = new MemoryCore({ ...stack.environment, IPFS_API_URL: node.url });
      const erasing: Promise<unknown>[] = [];
      node.fault = ({ url }) => {
        if (url.includes('/add') && erasing.length === 0) erasing.push(stack.memory.forget({ userId }));
        return url.includes('/add') ? { lateMs: 500 } : null;
      };
      expect(await restore(memory)).toMatchObject({ documents: 4, restored: 0, erased: 4 });
      await Promise.all(erasing);
      expect(await rowsOf(userId)).toEqual({ memories: [], reflections: [] });
      const ipfs = new Ipfs(stack.ipfs.url, 10_000);
      for (const cid of cidsOf()) expect(await ipfs.isPinned(cid)).toBe(false);
      await memory.close();
      await node.stop();
    });
  });
});
