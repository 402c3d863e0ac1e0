/**
 * **test/processes/**: workers and servers as processes: how they start, end, report and come through outages, on one Redis and
 * on a cluster. What they do to a record is tested in the folder of that subject.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import { runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, moment, turn, turns } from '../support/inputs/turns.ts';

let stack: Stack;
beforeEach(async () => {
  stack = await startStack();
});
afterEach(() => stack.stop());

describe('a chat worker', () => {
  test('takes jobs from any BullMQ client, whatever their options', async () => {
    await stack.startWorkers('chat');
    const contextId = stack.newContextId();
    const id = uuidv7();
    const data = { id, contextId, userId: 'u', userMessage: 'hi', assistantMessage: 'hello', createdAt: moment(1) };
    await stack.queue('chat').add('chat', data);
    await stack.idle('chat');
    expect((await stack.memory.getMemoryContext(contextId)).items).toMatchObject([{ id, userMessage: 'hi' }]);
  });

  test('fails a malformed job at once, naming the field and not the text, and goes on with the next', async () => {
    await stack.startWorkers('chat');
    const contextId = stack.newContextId();
    const bad = await stack
      .queue('chat')
      .add('chat', { ...turn(contextId, 1), id: 'no uuid', userMessage: 'MARKER' }, { attempts: 5 });
    await stack.memory.saveChat(turn(contextId, 2), { wait: true });
    await eventually(() => bad.isFailed());
    const failed = await stack.queue('chat').getJob(bad.id ?? '');
    expect(failed).toMatchObject({
      attemptsMade: 1,
      failedReason: expect.stringContaining('id: expected a UUID, received'),
    });
    expect(failed?.failedReason).not.toContain('MARKER');
    expect(await stack.client.xlen('memory:pending')).toBe(1);
  });

  test('the same job twice, also after the first was removed from the queue, is one record', async () => {
    await stack.startWorkers('chat', 'flush');
    const contextId = stack.newContextId();
    const input = turn(contextId, 1, { idempotencyKey: 'key-1' });
    const { id } = await stack.memory.saveChat(input, { wait: true });
    for (const flushFirst of [false, true]) {
      if (flushFirst) await stack.memory.flushRedisToSupabase();
      await (await stack.queue('chat').getJob(id))?.remove();
      expect(await stack.memory.saveChat(input, { wait: true })).toMatchObject({ id });
    }
    // Long after: gone from the cache too, and saved again with another time.
    await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`);
    await (await stack.queue('chat').getJob(id))?.remove();
    await stack.memory.saveChat({ ...input, createdAt: moment(99) }, { wait: true });
    expect((await stack.memory.getMemoryContext(contextId)).items).toHaveLength(1);
    await stack.memory.flushRedisToSupabase();
    const { items: records } = await stack.memory.getMemoryContext(contextId);
    expect(records).toMatchObject([{ id, createdAt: moment(1) }]);
    const recent = await stack.memory.loadRecentContext(contextId);
    expect(recent.items).toMatchObject([{ id, createdAt: moment(1) }]);
  });

  test('another user or conversation with the same idempotency key is another record', async () => {
    const contextId = stack.newContextId();
    const ids = idsOf(
      await stack.memory.saveChats([
        turn(contextId, 1, { idempotencyKey: 'k' }),
        turn(contextId, 1, { idempotencyKey: 'k', userId: 'user-2' }),
        turn(stack.newContextId(), 1, { idempotencyKey: 'k' }),
        turn(contextId, 2, { idempotencyKey: 'k' }),
      ]),
    );
    expect(new Set(ids).size).toBe(3);
    expect(ids[3]).toBe(ids[0]);
  });

  test('commits important turns at once, and every turn in write mode immediate', async () => {
    await stack.startWorkers('chat');
    const contextId = stack.newContextId();
    const receipt = await stack.memory.saveChat(turn(contextId, 1, { important: true }), { wait: true });
    expect(receipt).toMatchObject({ supabaseStored: true, note: 'committed' });
    expect(await stack.memory.getStatus(receipt.id)).toMatchObject({ status: 'committed' });
    expect(await stack.client.xlen('memory:pending')).toBe(0);

    stack.environment['MEMORY_WRITE_MODE'] = 'immediate';
    await stack.queue('chat').pause();
    await stack.startWorkers('chat');
    await stack.queue('chat').resume();
    // Two workers now, one of each mode; with twenty turns at once both get some.
    const more = await Promise.all(turns(contextId, 20, 2).map((each) => stack.memory.saveChat(each, { wait: true })));
    expect(more.some(({ supabaseStored }) => supabaseStored)).toBe(true);
  });

  test('an important turn with Supabase away is cached, pending, and asks for a flush', async () => {
    await stack.startWorkers('chat');
    stack.proxy.fault = () => ({ status: 503 });
    const receipt = await stack.memory.saveChat(turn(stack.newContextId(), 1, { important: true }), { wait: true });
    expect(receipt).toMatchObject({ supabaseStored: false, redisStored: true });
    expect(await stack.memory.getStatus(receipt.id)).toMatchObject({ status: 'cached' });
    const [asked] = await stack.queue('flush').getWaiting();
    expect(asked?.data).toEqual({ reason: 'important' });
  });

  test.each([
    ['a run of 200,000 characters without a break', 'a'.repeat(200_000)],
    ['a run of 200,000 Chinese characters', '記'.repeat(200_000)],
    ['a text of 1 MB', 'The quick brown fox 記憶。\n'.repeat(33_000)],
    ['special tokens, emoji with joiners, NUL', '<|endoftext|> 👩‍🌾👨‍👩‍👧 \0 <|im_start|>'],
  ])('keeps %s exactly', async (_name, userMessage) => {
    await stack.startWorkers('chat', 'flush');
    const contextId = stack.newContextId();
    await stack.memory.saveChat(turn(contextId, 1, { userMessage }), { wait: true });
    await stack.memory.flushRedisToSupabase();
    await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`);
    const [read] = (await stack.memory.loadRecentContext(contextId)).items;
    expect(read?.userMessage === userMessage).toBe(true);
  });

  test('a lone surrogate comes back as U+FFFD', async () => {
    await stack.startWorkers('chat');
    const contextId = stack.newContextId();
    await stack.memory.saveChat(turn(contextId, 1, { userMessage: 'a\uD800b' }), { wait: true });
    expect((await stack.memory.loadRecentContext(contextId)).items).toMatchObject([{ userMessage: 'a\uFFFDb' }]);
  });
});

describe('a worker', () => {
  test('bounds what it keeps of finished jobs, also of jobs that asked for nothing', async () => {
    await stack.startWorkers('chat');
    const contextId = stack.newContextId();
    const data = turns(contextId, 10_200).map((each) => ({ ...each, id: uuidv7() }));
    for (let start = 0; start < data.length; start += 600) {
      await stack.queue('chat').addBulk(data.slice(start, start + 600).map((each) => ({ name: 'chat', data: each })));
    }
    await stack.idle('chat');
    expect(await stack.queue('chat').getCompletedCount()).toBe(10_000);
    expect(await stack.client.xlen('memory:pending')).toBe(10_200);
  });

  test('finishes what is in hand when it is stopped, and leaves the rest in the queue', async () => {
    stack.environment['MEMORY_WORKER_CONCURRENCY'] = '4';
    const contextId = stack.newContextId();
    await stack.memory.saveChats(turns(contextId, 500));
    const [worker] = await stack.startWorkers('chat');
    await eventually(async () => (await stack.client.xlen('memory:pending')) > 20);
    expect(await worker?.stop()).toEqual([]);
    const counts = await stack.queue('chat').getJobCounts('active', 'failed', 'waiting', 'completed');
    expect(counts).toMatchObject({ active: 0, failed: 0 });
    expect((counts['waiting'] ?? 0) + (counts['completed'] ?? 0)).toBe(500);
    await stack.startWorkers('chat');
    await stack.idle('chat');
    expect(await stack.client.xlen('memory:pending')).toBe(500);
  });

  test('refuses to start on a Redis that may evict pending records: it ends with 2 and says what to set', async () => {
    await stack.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    const { code, stderr } = await runCommand(['worker', 'chat'], { environment: stack.environment });
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/^error: REDIS_URL: .*config set maxmemory-policy noevic/),
    ]);
  });
});
