import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ODD_IDS } from '../support/inputs/odd-ids.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';

// PGlite 0.4 reads every text without a byte order mark at its beginning; PostgreSQL has it as it was.
const ids = CHOSEN_SUPABASE === 'embedded' ? ODD_IDS : [...ODD_IDS, ['a byte order mark', '\uFEFFx'] as const];

describe.each([CHOSEN_SUPABASE])('odd but legal ids, on the %s Supabase', (supabase) => {
  let stack: Stack;
  /** Record id by conversation. */
  const saved = new Map<string, string>();

  beforeAll(async () => {
    stack = await startStack({ supabase });
    await stack.startWorkers('chat', 'flush');
    const receipts = await Promise.all(
      ids.map(([name, id]) =>
        stack.memory.saveChat(
          { contextId: id, userId: id, userMessage: name, assistantMessage: `id ${id}` },
          { wait: true },
        ),
      ),
    );
    for (const { conversationId, id } of receipts) saved.set(conversationId, id);
  });
  afterAll(() => stack.stop());

  /** What every read of the conversation must give: its one record and nobody else's. */
  async function expectOwnRecord(name: string, contextId: string): Promise<void> {
    const own = {
      id: saved.get(contextId),
      contextId,
      userId: contextId,
      userMessage: name,
      assistantMessage: `id ${contextId}`,
    };
    const { items: records, nextCursor } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
    expect(records).toEqual([expect.objectContaining(own)]);
    expect(nextCursor).toBeNull();
    const { items } = await stack.memory.loadRecentContext(contextId);
    expect(items).toEqual([expect.objectContaining(own)]);
    expect(await stack.memory.getReflections(contextId)).toMatchObject({ contextId, items: [], nextCursor: null });
  }

  test.each(ids)('%s: is read while it is pending', async (name, id) => {
    await expectOwnRecord(name, id);
    expect(await stack.memory.getStatus(saved.get(id) ?? '')).toMatchObject({ id: saved.get(id) });
  });

  test('all are committed by one flush, none is refused', async () => {
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, failedCount: 0 });
    expect(await stack.client.xlen('memory:pending')).toBe(0);
    const { data } = await stack.supabase
      .from('memories')
      .select('id, context_id, user_id')
      .in('id', [...saved.values()]);
    expect(new Map(data?.map((row) => [row.context_id, row.id]))).toEqual(saved);
    expect(data?.every((row) => row.context_id === row.user_id)).toBe(true);
  });

  test.each(ids)('%s: is read from the cache, from Supabase alone, and from the cache again', async (name, id) => {
    await expectOwnRecord(name, id);
    const keys = ['conversation', 'order', 'uncommitted', 'refill'].map((kind) => `memory:${kind}:${id}`);
    expect(await stack.client.del(keys)).toBeGreaterThan(0);
    await expectOwnRecord(name, id);
    expect(await stack.client.hexists(`memory:conversation:${id}`, saved.get(id) ?? '')).toBe(1);
    expect(await stack.memory.inspect(saved.get(id) ?? '')).toMatchObject({
      foundIn: 'supabase',
      record: { contextId: id, userMessage: name },
    });
  });
});
