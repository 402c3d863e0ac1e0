import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startApi } from '../../doors/http/server.ts';
import { MemoryCore } from '../../producers/index.ts';
import { runCli } from '../support/clients/cli.ts';
import { type Postgrest, startPostgrest } from '../support/services/postgrest.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn } from '../support/inputs/turns.ts';

const FILE = 'supabase/migrations/20261128000001_search.sql';
const MISSING = new RegExp(`^search is not installed in this database: apply ${FILE}`);

let postgrest: Postgrest;
let stack: Stack;
beforeAll(async () => {
  postgrest = await startPostgrest({ withSearch: false });
  const environment = {
    SUPABASE_URL: postgrest.url,
    SUPABASE_SERVICE_ROLE_KEY: postgrest.serviceKey,
    MEMORY_ENCRYPTION_KEYS: `old:${'A'.repeat(43)}=`,
    MEMORY_TEXT_CACHE: 'encrypted',
    MEMORY_API_PORT: '0',
  };
  stack = await startStack({ environment });
  await stack.startWorkers();
}, 120_000);
afterAll(async () => {
  await stack.stop();
  await postgrest.stop();
});

const contextId = `without search ${randomUUID()}`;

interface Finding {
  name: string;
  ok: boolean;
  detail: string;
}
async function doctor() {
  const { code, stdout } = await runCli(['doctor', '--json'], { environment: stack.environment });
  const { checks: findings } = JSON.parse(stdout) as { checks: Finding[] };
  return { code, wrong: findings.filter(({ ok }) => !ok), search: findings.find(({ name }) => name === 'search') };
}

describe('a database without the search file', () => {
  test('has nothing that only search uses', async () => {
    const names = await postgrest.sql(`
      select relname as name from pg_class where relname like '%search%' and relnamespace = 'public'::regnamespace
      union select proname from pg_proc where proname like '%search%' and pronamespace = 'public'::regnamespace`);
    expect(names).toEqual([]);
  });

  test('keeps turns and reflections, and gives them back', async () => {
    const { memory } = stack;
    for (const n of [1, 2, 3]) await memory.saveChat(turn(contextId, n), { wait: true });
    expect(await memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 3 });
    const text = 'tomatoes like the sun';
    const { cid } = await memory.saveReflection({ contextId, userId: 'user-1', reflectionText: text }, { wait: true });
    expect(await memory.verify(cid ?? '')).toMatchObject({ ok: true });
    await stack.client.flushall();
    const { items: records } = await memory.getMemoryContext(contextId);
    expect(records).toHaveLength(4);
    expect((await memory.listConversations({ prefix: contextId })).items).toHaveLength(1);
    expect((await memory.listReflections({ contextId })).items).toHaveLength(1);
    const day = { from: '2025-10-19T00:00:00Z', to: '2025-10-20T00:00:00Z' };
    const trends = await memory.getTrends({ contextId, ...day, bucket: 'day' });
    expect(trends.items.reduce((sum, { turns }) => sum + turns, 0)).toBe(3);
    expect(await Array.fromAsync(memory.exportTrainingData({ contextId, format: 'openai' }))).not.toHaveLength(0);
    expect(await Array.fromAsync(memory.exportArchive({ contextId }))).not.toHaveLength(0);
  });

  test('has its keys exchanged', async () => {
    const keys = `new:${'B'.repeat(42)}A=,${stack.environment['MEMORY_ENCRYPTION_KEYS']}`;
    const memory = new MemoryCore({ ...stack.environment, MEMORY_ENCRYPTION_KEYS: keys });
    try {
      expect((await Array.fromAsync(memory.rekey())).at(-1)).toMatchObject({ done: 5, total: 5, left: {} });
    } finally {
      await memory.close();
    }
  });

  test('is well for the doctor, who tells it', async () => {
    expect(await doctor()).toEqual({
      code: 0,
      wrong: [],
      search: { name: 'search', ok: true, detail: `not installed (optional): ${FILE}`, mend: null },
    });
  });

  test('answers a search with what to do, and not as an outage: in TypeScript, over HTTP and in the shell', async () => {
    await expect(stack.memory.search({ query: 'tomatoes' })).rejects.toMatchObject({
      code: 'invalid_configuration',
      message: expect.stringMatching(MISSING),
    });

    const api = await startApi(stack.environment, '1.0.0');
    const [, key = ''] = stack.environment['MEMORY_API_KEYS']?.split(':') ?? [];
    const response = await fetch(new URL('/memory/search?query=tomatoes', api.url), {
      headers: { authorization: `Bearer ${key}` },
    });
    expect([response.status, response.headers.get('retry-after'), await response.json()]).toEqual([
      501,
      null,
      expect.objectContaining({ code: 'invalid_configuration', detail: expect.stringMatching(MISSING) }),
    ]);
    await api.stop();

    const { code, stdout, stderr } = await runCli(['search', 'tomatoes'], { environment: stack.environment });
    expect([code, stdout, stderr]).toEqual([2, '', expect.stringContaining(`apply ${FILE}`)]);
  });

  test('lets nothing be left of an erased conversation', async () => {
    const erased = `erased ${randomUUID()}`;
    await stack.memory.saveChat(turn(erased, 1), { wait: true });
    await stack.memory.flushRedisToSupabase();
    await stack.memory.forget({ contextId: erased });
    expect(await postgrest.sql('select from memories where context_id = $1', [erased])).toEqual([]);
  });

  test('can search once the file is applied, also in what was there before', async () => {
    await postgrest.sql(readFileSync(path.join(import.meta.dirname, '../..', FILE), 'utf8'));
    await postgrest.reloadSchema();
    expect((await stack.memory.search({ query: 'tomatoes', contextId })).items).toMatchObject([
      { module: 'reflection' },
    ]);
    expect(await doctor()).toMatchObject({ code: 0, wrong: [], search: { detail: 'installed' } });
  });

  test('has search taken away again as the file says, also while PostgREST does not know it yet', async () => {
    await postgrest.sql(`
      drop function public.mnemoq_search;
      drop index public.memories_search_idx;
      drop function public.mnemoq_search_terms`);
    for (const when of ['at once', 'later']) {
      const refused = await stack.memory.search({ query: 'tomatoes' }).catch(({ code }) => [when, code]);
      expect(refused).toEqual([when, 'invalid_configuration']);
      await postgrest.reloadSchema();
    }
    await stack.memory.saveChat(turn(contextId, 4), { wait: true });
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 1 });
  });
});
