import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Keys } from '../../shared/short-term/keys.ts';
import { Pending } from '../../shared/short-term/pending.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn, turns } from '../support/inputs/turns.ts';

/** Bytes of somebody else's data that fill Redis up. */
const BALLAST = 24 * 1024 * 1024;

let stack: Stack;
beforeEach(async () => {
  stack = await startStack();
});
afterEach(() => stack.stop());

async function usedBytes(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await stack.client.info('memory'))?.[1]);
}

/** Leaves Redis no byte: it refuses every command that needs memory. */
async function fill(): Promise<void> {
  await stack.client.setrange('ballast', BALLAST, 'x');
  await stack.client.config('SET', 'maxmemory', String((await usedBytes()) - 1024 * 1024));
  await expect(stack.client.set('x', 'x')).rejects.toThrow('OOM');
}

async function committed(contextId: string): Promise<number | null> {
  const { count } = await stack.supabase.from('memories').select('*', { count: 'exact' }).eq('context_id', contextId);
  return count;
}

describe('with Redis at maxmemory', () => {
  test('saves are refused, flush and reads go on, and all recovers when room returns', async () => {
    const [pending, old] = [stack.newContextId(), stack.newContextId()];
    const [chat] = await stack.startWorkers('chat');
    for (const contextId of [pending, old]) await stack.memory.saveChats(turns(contextId, 20));
    await stack.idle('chat');
    await stack.startWorkers('flush');
    await stack.memory.flushRedisToSupabase();
    await stack.client.del(`memory:conversation:${old}`, `memory:order:${old}`); // as if expired
    await stack.memory.saveChats(turns(pending, 20, 20));
    await stack.idle('chat');
    await chat?.stop();
    const queued = await stack.memory.saveChats(turns(pending, 5, 40));
    await stack.startWorkers('chat');
    await fill();

    await expect(stack.memory.saveChat(turn(pending, 99))).rejects.toMatchObject({ code: 'redis_full' });
    await expect(stack.queue('chat').add('chat', {})).rejects.toThrow('OOM');
    await eventually(async () => (await committed(pending)) === 40); // no job can be added for it
    for (const contextId of [pending, old]) {
      const { items: records } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
      expect(records.length).toBeGreaterThanOrEqual(contextId === old ? 20 : 40);
      expect((await stack.memory.loadRecentContext(contextId, { limit: 10 })).items).toHaveLength(10);
    }
    expect(await stack.memory.getStats()).toMatchObject({ status: 'degraded' });

    await stack.client.del('ballast');
    await eventually(() => stack.memory.saveChat(turn(pending, 45)).catch(() => null));
    await stack.idle('chat', 90_000);
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 6 });
    expect(await committed(pending)).toBe(46);
    const { items: records } = await stack.memory.getMemoryContext(pending, { limit: 1000 });
    expect(records.map(({ userMessage }) => userMessage)).toEqual(turns(pending, 46).map((each) => each.userMessage));
    expect(queued.items.every(({ id }) => records.some((record) => record.id === id))).toBe(true);
    const failed = await Promise.all(
      ['chat', 'quarantine'].map((name) => stack.queue(name as 'chat').getFailedCount()),
    );
    expect(failed).toEqual([0, 0]);
  });

  test('what Supabase has as well makes room: saves are taken again; nothing uncommitted is dropped', async () => {
    const [kept, dropped] = [stack.newContextId(), stack.newContextId()];
    await stack.startWorkers('chat', 'flush');
    const big = 'memory '.repeat(20_000);
    for (const contextId of [kept, dropped]) {
      await stack.memory.saveChats(turns(contextId, 30).map((each) => ({ ...each, userMessage: big })));
    }
    await stack.idle('chat');
    await stack.memory.flushRedisToSupabase();
    stack.proxy.fault = ({ method }) => (method === 'POST' ? { status: 503 } : null);
    await stack.memory.saveChat(turn(kept, 30), { wait: true });
    const before = await usedBytes();
    await stack.client.config('SET', 'maxmemory', String(before));

    await eventually(async () => (await stack.client.exists(`memory:conversation:${dropped}`)) === 0);
    expect(await stack.client.hlen(`memory:conversation:${kept}`)).toBeGreaterThan(30);
    stack.proxy.fault = () => null;
    await eventually(() => stack.memory.saveChat(turn(dropped, 30)).catch(() => null));
    expect(await usedBytes()).toBeLessThan(before);
    await stack.idle('chat');
    for (const contextId of [kept, dropped]) {
      const { items: records } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
      expect(records.map(({ createdAt }) => createdAt)).toEqual(turns(contextId, 31).map(({ createdAt }) => createdAt));
    }
  });
});

test('a schedule whose next flush is gone is made anew', async () => {
  stack.environment['MEMORY_FLUSH_STRATEGY'] = 'interval';
  stack.environment['MEMORY_FLUSH_INTERVAL_MS'] = '600000';
  await stack.startWorkers('flush');
  const nextFlush = async () => (await stack.queue('flush').getDelayed())[0];
  const before = await eventually(nextFlush);
  // As after a Redis that refused the one command that adds it.
  await stack.client.del(`bull:flush:${before?.id}`);
  await stack.client.zrem('bull:flush:delayed', before?.id ?? '');
  expect(await nextFlush()).toBeUndefined();
  await eventually(nextFlush);
});

test('consumers of workers long gone are forgotten, unless records are in their hands', async () => {
  const pending = new Pending(stack.client, new Keys(false));
  await pending.prepare();
  await stack.client.xadd('memory:pending', '*', 'contextId', 'c', 'id', 'i', 'bytes', '1');
  await pending.take('', 'holding', 10);
  await stack.client.xgroup('CREATECONSUMER', 'memory:pending', 'flush', 'idle');
  const consumers = async () => {
    const listed = (await stack.client.xinfo('CONSUMERS', 'memory:pending', 'flush')) as string[][];
    return listed.map((consumer) => consumer[1]);
  };
  await pending.forgetConsumers();
  expect(await consumers()).toEqual(['holding', 'idle']);
  await eventually(async () => {
    await pending.forgetConsumers(1);
    return (await consumers()).length < 2;
  });
  expect(await consumers()).toEqual(['holding']);
});

test('a Redis that lost everything gets its consumer group and its schedule back, and flushes go on', async () => {
  const contextId = stack.newContextId();
  await stack.startWorkers('chat', 'flush');
  await stack.client.flushall();
  await stack.memory.saveChat(turn(contextId, 1), { wait: true });
  expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 1 });
  await eventually(async () => (await stack.queue('flush').getDelayedCount()) === 1);
});
