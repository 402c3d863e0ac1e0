import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../embedded/redis.ts';
import { MemoryCore } from '../../producers/index.ts';
import { eventually } from '../support/faults/eventually.ts';
import { lapseLocks, lapseTakeover } from '../support/faults/lapsed-locks.ts';
import { redisPrograms } from '../support/services/redis-programs.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';
import { kill, startWorkerProcess } from '../support/clients/worker-process.ts';

let stack: Stack;
const children: ChildProcess[] = [];
afterEach(async () => {
  await Promise.all(children.splice(0).map(kill));
  await stack.stop();
});

async function startProcess(kind: 'chat' | 'flush'): Promise<ChildProcess> {
  const child = await startWorkerProcess(kind, stack.environment);
  children.push(child);
  return child;
}

async function idsInSupabase(contextId: string): Promise<string[]> {
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId).order('id');
  return (data ?? []).map(({ id }) => id as string);
}

describe.each(redisPrograms())('what was acknowledged by %s', (_name, program) => {
  // With everysec Redis may put even the write off for two seconds while an fsync is under way. That the answer waits for the
  // fsync, too, no `kill -9` can show: acknowledgement.test.ts does.
  test('survives kill -9 of Redis in the middle of saving, with appendfsync always', async () => {
    stack = await startStack({ redis: { program, appendfsync: 'always' } });
    const contextId = stack.newContextId();
    const acknowledged: string[] = [];
    const saving = new AbortController();
    const savers = Array.from({ length: 8 }, async (_, lane) => {
      for (let n = lane; !saving.signal.aborted; n += 8) {
        const receipt = await stack.memory.saveChat(turn(contextId, n)).catch(() => null);
        if (receipt) acknowledged.push(receipt.id);
      }
    });
    await eventually(() => acknowledged.length > 300);
    stack.redis.process.kill('SIGKILL');
    saving.abort();
    await Promise.all(savers);

    const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'redis');
    const again = await startRedis(dir, { program, port: stack.redis.port, appendfsync: 'always' });
    await stack.startWorkers('chat', 'flush');
    await stack.idle('chat');
    await stack.memory.flushRedisToSupabase();
    const stored = new Set(await idsInSupabase(contextId));
    expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
    await stack.stop();
    await again.stop();
  });

  test('is cached and committed once each when chat and flush workers are killed in the middle', async () => {
    stack = await startStack({ redis: { program } });
    const contextId = stack.newContextId();
    const ids = idsOf(await stack.memory.saveChats(turns(contextId, 300)));
    const [chat, flush] = await Promise.all([startProcess('chat'), startProcess('flush')]);
    await eventually(async () => (await stack.client.xlen('memory:pending')) > 50);
    await kill(chat);
    void stack.memory.flushRedisToSupabase({ batchSize: 10, wait: 1000 }).catch(() => undefined);
    await eventually(async () => (await idsInSupabase(contextId)).length > 20);
    await kill(flush);

    await lapseLocks(stack, 'chat');
    await lapseLocks(stack, 'flush');
    await lapseTakeover(stack);
    await stack.startWorkers('chat', 'flush');
    await stack.idle('chat');
    expect((await stack.memory.flushRedisToSupabase()).success).toBe(true);
    expect(await idsInSupabase(contextId)).toEqual(ids.toSorted());
    expect((await stack.queue('chat').getJobCounts('failed'))['failed']).toBe(0);
    const { items: records } = await stack.memory.getMemoryContext(contextId, { limit: 1000 });
    expect(records.map(({ id }) => id)).toEqual(ids);
  });
});

describe.each(redisPrograms())('saving with %s', (_name, program) => {
  test('fails in bounded time and says why when Redis is away, and works again when it is back', async () => {
    stack = await startStack({ redis: { program }, environment: { MEMORY_REDIS_TIMEOUT_MS: '500' } });
    const contextId = stack.newContextId();
    await stack.memory.saveChat(turn(contextId, 1));
    await stack.redis.stop();
    const failing = stack.memory.saveChat(turn(contextId, 2));
    await expect(failing).rejects.toMatchObject({
      code: 'redis_unavailable',
      message: expect.stringContaining('Redis'),
    });
    const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'redis');
    const again = await startRedis(dir, { program, port: stack.redis.port });
    await eventually(() => stack.memory.saveChat(turn(contextId, 3)).catch(() => null));
    expect(await stack.queue('chat').getWaitingCount()).toBe(2);
    await stack.stop();
    await again.stop();
  });

  test('to a Redis that was never there fails the same way, and a hanging one too', async () => {
    stack = await startStack({ redis: { program } });
    const memory = new MemoryCore({
      ...stack.environment,
      REDIS_URL: 'redis://127.0.0.1:1',
      MEMORY_REDIS_TIMEOUT_MS: '300',
    });
    await expect(memory.saveChat(turn('c', 1))).rejects.toMatchObject({ code: 'redis_unavailable' });
    await memory.close();
    const hanging = new MemoryCore({ ...stack.environment, MEMORY_REDIS_TIMEOUT_MS: '300' });
    await hanging.saveChat(turn('c', 1));
    stack.redis.process.kill('SIGSTOP');
    await expect(hanging.saveChat(turn('c', 2))).rejects.toMatchObject({ code: 'redis_unavailable' });
    stack.redis.process.kill('SIGCONT');
    await hanging.close();
  });

  test('is refused while Redis is nearly full, and flush and reads go on', async () => {
    stack = await startStack({ redis: { program }, environment: { MEMORY_REDIS_MAX_USED_PERCENT: '80' } });
    await stack.startWorkers('chat', 'flush');
    const contextId = stack.newContextId();
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    const used = Number(/used_memory:(\d+)/.exec(await stack.client.info('memory'))?.[1]);
    await stack.client.config('SET', 'maxmemory', String(Math.ceil(used / 0.85)));
    await eventually(async () => {
      const error = await stack.memory.saveChat(turn(contextId, 2)).catch((refusal) => refusal);
      return error.code === 'redis_full' && /nearly full .* nothing was stored/s.test(error.message);
    });
    expect(await stack.memory.getStats()).toMatchObject({
      status: 'degraded',
      reasons: [expect.stringContaining('nearly full')],
    });
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true });
    expect((await stack.memory.loadRecentContext(contextId)).items.length).toBeGreaterThan(0);
    await stack.client.config('SET', 'maxmemory', '0');
    await eventually(() => stack.memory.saveChat(turn(contextId, 3)).catch(() => null));
  });

  test('a worker wakes up by itself after Redis was away', async () => {
    stack = await startStack({ redis: { program } });
    await stack.startWorkers('chat', 'flush');
    const contextId = stack.newContextId();
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'redis');
    stack.redis.process.kill('SIGKILL');
    await eventually(() => stack.redis.process.signalCode !== null);
    const again = await startRedis(dir, { program, port: stack.redis.port });
    const client = new Redis(again.url);
    await eventually(() => stack.memory.saveChat(turn(contextId, 2)).catch(() => null));
    await eventually(async () => (await client.xlen('memory:pending')) >= 2);
    expect((await stack.memory.loadRecentContext(contextId)).items).toHaveLength(await client.xlen('memory:pending'));
    client.disconnect();
    await stack.stop();
    await again.stop();
  });
});
