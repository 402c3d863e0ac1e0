import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../support/services/stack.ts';
import { npmFile, run } from './support/programs.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const PRODUCER = path.join(import.meta.dirname, 'bullmq-5/producer.mjs');
const HOOKS = path.join(import.meta.dirname, 'bullmq-5/hooks.mjs');

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  await stack.startWorkers('chat', 'reflection', 'flush');
});
afterAll(() => stack.stop());

async function produce(...args: string[]) {
  return run(process.execPath, args, { environment: { REDIS_URL: stack.redis.url } });
}

test('the judge is BullMQ 5 and the workers are not', () => {
  const versionOf = (file: string) => (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  expect(versionOf(npmFile('bullmq/package.json'))).toMatch(/^5\./);
  expect(versionOf(path.join(ROOT, 'node_modules/bullmq/package.json'))).not.toMatch(/^5\./);
});

test('the example of a producer without Mnemoq runs on BullMQ 5 as it says', async () => {
  const ran = await produce('--import', HOOKS, path.join(ROOT, 'examples/plain-bullmq.mjs'));
  const lines = ['queued', 'cached: the worker has read 2 texts', 'the same job again: nothing new'];
  expect(ran).toEqual({ code: 0, stderr: 'bullmq 5\n', stdout: `${lines.join('\n')}\n` });
  const { items } = await stack.memory.loadRecentContext('plain-bullmq', { format: 'messages' });
  expect(items).toMatchObject([{ content: 'Which tea do I like?' }, { content: 'Oolong.' }]);
});

test('jobs added in bulk, with a delay, a priority or attempts all land, once each and in order', async () => {
  const contextId = stack.newContextId();
  const { code, stdout, stderr } = await produce(PRODUCER, contextId);
  expect([code, stderr]).toEqual([0, '']);
  const { turns, reflection, refused } = JSON.parse(stdout) as { turns: string[]; reflection: string; refused: string };
  await stack.memory.flushRedisToSupabase();
  const { data } = await stack.supabase
    .from('memories')
    .select('id, module')
    .eq('context_id', contextId)
    .order('created_at')
    .throwOnError();
  const rows = data as { id: string; module: string }[];
  expect(rows.filter(({ module }) => module === 'chat').map(({ id }) => id)).toEqual(turns);
  expect(rows.filter(({ module }) => module === 'reflection').map(({ id }) => id)).toEqual([reflection]);
  // What is wrong with a job is told to a producer of BullMQ 5 as to any other, and nothing of it is stored.
  expect(refused).toContain('userMessage');
});
