/**
 * Redis away for a minute, and dead connections that only their owner can find: BullMQ waits for jobs on a connection, and
 * takes it for dead when nothing has come for longer than it has asked Redis to wait.
 */
import path from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { startRedis } from '../../embedded/redis.ts';
import { MemoryCore } from '../../producers/index.ts';
import { eventually } from '../support/faults/eventually.ts';
import { type HalfOpenProxy, startHalfOpenProxy } from '../support/faults/half-open-proxy.ts';
import { turn } from '../support/inputs/turns.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

/** How long Redis is away, in seconds; OUTAGE_SECONDS=120 tries two minutes. Older BullMQ never woke up after a few. */
const OUTAGE_SECONDS = Number(process.env['OUTAGE_SECONDS'] ?? 60);

let stack: Stack;
const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  await stack.stop();
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

async function restartRedis(): Promise<void> {
  const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'redis');
  const again = await startRedis(dir, { port: stack.redis.port });
  cleanUps.unshift(() => again.stop());
}

async function idsInSupabase(contextId: string): Promise<string[]> {
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId).order('id');
  return (data ?? []).map(({ id }) => id as string);
}

describe('Redis', () => {
  test(`away for ${OUTAGE_SECONDS} s: saves fail at once, all workers wake up by themselves`, async () => {
    stack = await startStack({ environment: { MEMORY_REDIS_TIMEOUT_MS: '500' } });
    await stack.startWorkers();
    const contextId = stack.newContextId();
    const first = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    await stack.redis.stop();
    let refused = 0;
    const until = Date.now() + OUTAGE_SECONDS * 1000;
    while (Date.now() < until) {
      const error = await stack.memory.saveChat(turn(contextId, 2)).catch((refusal) => refusal);
      expect(error).toMatchObject({ code: 'redis_unavailable' });
      refused += 1;
    }
    expect(refused).toBeGreaterThanOrEqual(OUTAGE_SECONDS); // at most 500 ms each, half of what there is time for
    await restartRedis();

    const save = () => stack.memory.saveChat(turn(contextId, 3, { idempotencyKey: '3' }), { wait: true });
    const second = await eventually(() => save().catch(() => null));
    await eventually(async () => (await stack.memory.getStatus(second?.id ?? '')).status === 'cached');
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 2 });
    const { cid } = await stack.memory.saveReflection({ contextId, reflectionText: 'back again' }, { wait: true });
    expect(cid).not.toBeNull();
    expect(await idsInSupabase(contextId)).toEqual(expect.arrayContaining([first.id, second?.id]));
  });

  describe('half open: connections stay and nothing comes through', () => {
    let wire: HalfOpenProxy;
    async function startBehindWire(environment: Record<string, string> = {}): Promise<MemoryCore> {
      stack = await startStack();
      wire = await startHalfOpenProxy(stack.redis.port);
      cleanUps.push(() => wire.stop());
      Object.assign(stack.environment, { REDIS_URL: `redis://127.0.0.1:${wire.port}`, ...environment });
      const memory = new MemoryCore(stack.environment);
      cleanUps.unshift(() => memory.close());
      return memory;
    }

    test('workers drop the dead connections by themselves', async () => {
      const memory = await startBehindWire();
      const contextId = stack.newContextId();
      await stack.startWorkers('chat', 'flush');
      await memory.saveChat(turn(contextId, 1), { wait: true });
      wire.blackHole();
      const { id } = await stack.memory.saveChat(turn(contextId, 2)); // by another way
      wire.pass();
      await eventually(async () => (await stack.memory.getStatus(id)).status === 'cached');
      expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 2 });
    });
  });
});
