import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MemoryCore, type RekeyOptions, type RekeyProgress } from '../../producers/index.ts';
import { SealedCache } from '../../producers/keeping/sealed-cache.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { type OwnSupabase, startOwnSupabase } from '../support/services/own-supabase.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';

const KEYS = Object.fromEntries(
  ['old', 'n_w', 'lost'].map((kid) => [kid, `${kid}:${randomBytes(32).toString('base64')}`]),
);
const keyed = (...kids: string[]) => kids.map((kid) => KEYS[kid]).join();
const SEALED = /"(?:v1)\.([\w-]+)\.|^v1\.([\w-]+)\./g;

/** Of this file alone: here everything there is gets sealed anew. */
let service: OwnSupabase;
beforeAll(async () => {
  service = await startOwnSupabase();
});
afterAll(() => service.stop());

describe.each([CHOSEN_SUPABASE])('sealing anew, on the %s Supabase', () => {
  let stack: Stack;
  let contextId: string;
  beforeEach(async () => {
    const environment = { MEMORY_ENCRYPTION_KEYS: keyed('old'), MEMORY_ENCRYPT_TOKENS: 'true' };
    stack = await startStack({ supabase: service, environment });
    await stack.supabase.from('memories').delete().not('id', 'is', null);
    contextId = stack.newContextId();
  });
  afterEach(() => stack.stop());

  /** As a process would that was started with these settings. */
  async function withMemory<T>(settings: Record<string, string>, work: (memory: MemoryCore) => Promise<T>): Promise<T> {
    const memory = new MemoryCore({ ...stack.environment, ...settings });
    try {
      return await work(memory);
    } finally {
      await memory.close();
    }
  }

  const rekey = async (kids = ['n_w', 'old'], options: RekeyOptions = {}, settings: Record<string, string> = {}) =>
    withMemory({ MEMORY_ENCRYPTION_KEYS: keyed(...kids), ...settings }, async (memory) => {
      const steps = await Array.fromAsync(memory.rekey(options));
      return steps.at(-1) as RekeyProgress;
    });

  /** Every key id that stands before something sealed, anywhere in both stores, past Mnemoq. */
  async function kidsInUse(): Promise<string[]> {
    const rows = await stack.supabase.from('memories').select('*');
    const reflections = await stack.supabase.from('memory_reflections').select('*');
    const texts = [...(rows.data ?? []), ...(reflections.data ?? [])].map((row) => JSON.stringify(row));
    for (const key of await stack.client.keys('*')) {
      const type = await stack.client.type(key);
      if (type === 'hash') texts.push(...(await stack.client.hvals(key)).map((value) => value.replaceAll('\\', '')));
    }
    const kids = texts.flatMap((text) => [...text.matchAll(SEALED)].map(([, quoted, bare]) => quoted ?? bare ?? ''));
    return [...new Set(kids)].toSorted();
  }

  async function readAll(kid = 'n_w'): Promise<string[]> {
    return withMemory({ MEMORY_ENCRYPTION_KEYS: keyed(kid) }, async (memory) => {
      const { items: records } = await memory.getMemoryContext(contextId, { limit: 1000 });
      return records.map(({ userMessage, text }) => userMessage ?? text ?? '');
    });
  }

  test('reaches rows, wrapped keys, caches, pending records and quarantine; then the old key can go', async () => {
    await stack.startWorkers();
    await stack.memory.saveChats(turns(contextId, 5));
    await stack.idle('chat');
    await stack.memory.flushRedisToSupabase();
    const { cid } = await stack.memory.saveReflection({ contextId, reflectionText: 'slower' }, { wait: true });
    const refused = turn(contextId, 6);
    stack.proxy.fault = ({ method, body }) =>
      method === 'POST' && body.includes('v1.old') ? { status: 400, body: { code: '22P05', message: 'no' } } : null;
    await stack.memory.saveChat(refused, { wait: true });
    await stack.memory.flushRedisToSupabase();
    stack.proxy.fault = () => null;
    await stack.memory.saveChat(turn(contextId, 7), { wait: true });
    expect(await kidsInUse()).toEqual(['old']);

    const counted = await rekey(undefined, { dryRun: true });
    expect(counted).toMatchObject({ keyId: 'n_w', resealed: { memories: 0 }, failures: [], plain: 0 });
    expect(Object.keys(counted.left ?? {})).toEqual(['old']);
    expect(await kidsInUse()).toEqual(['old']);

    const result = await rekey();
    // Two values of each of six rows and of the eight cached ones, of which one is in quarantine as well.
    expect(result).toMatchObject({
      resealed: { memories: 12, reflections: 1, quarantine: 2, cache: 16 },
      failures: [],
      left: {},
    });
    expect(await kidsInUse()).toEqual(['n_w']);
    expect(await readAll()).toEqual([0, 1, 2, 3, 4, 6, 7].map((n) => `question ${n}`).toSpliced(7, 0, 'slower'));
    await withMemory({ MEMORY_ENCRYPTION_KEYS: keyed('n_w') }, async (memory) => {
      expect((await memory.verify(cid ?? '')).ok).toBe(true);
      expect(await memory.flushRedisToSupabase()).toMatchObject({ success: true, flushedCount: 1 });
      const [quarantined] = (await memory.listQuarantined()).items;
      expect(await memory.retryQuarantined(quarantined?.id ?? '')).toMatchObject({ committed: true });
      expect(await Array.fromAsync(memory.exportTrainingData({ contextId, format: 'openai' }))).toHaveLength(8);
    });
    expect(await kidsInUse()).toEqual(['n_w']);
    const again = await rekey();
    expect([again.pass, Object.values(again.resealed)]).toEqual([1, [0, 0, 0, 0]]);
  });

  test('a row whose key is lost is listed, left as it is, and holds up no other', async () => {
    await stack.startWorkers('chat', 'flush');
    const ids = idsOf(await stack.memory.saveChats(turns(contextId, 4)));
    await stack.idle('chat');
    await stack.memory.flushRedisToSupabase();
    await stack.client.flushall();
    const [lost = ''] = ids;
    const { data } = await stack.supabase.from('memories').select('*').eq('id', lost);
    const swap = (value: string) => value.replace('v1.old.', 'v1.lost.');
    const {
      tokens: { sealed, ...tokens },
      text_cache,
    } = data?.[0] ?? { tokens: {} };
    const row = { tokens: { ...tokens, sealed: swap(sealed) }, text_cache: swap(text_cache) };
    await stack.supabase.from('memories').update(row).eq('id', lost);
    const result = await rekey();
    expect(result).toMatchObject({ resealed: { memories: 6 }, left: { lost: 2 } });
    expect(result.failures).toEqual([
      {
        tier: 'memories',
        id: lost,
        reason: expect.stringMatching(/sealed with key "lost", which MEMORY_ENCRYPTION_KEYS/),
      },
    ]);
    const after = await stack.supabase.from('memories').select('tokens,text_cache').eq('id', lost);
    expect(after.data).toEqual([row]);
    expect(await kidsInUse()).toEqual(['lost', 'n_w']);
  });

  test('what is erased or changed between reading and writing stays erased and changed', async () => {
    await stack.startWorkers('chat', 'flush');
    const [erased = '', changed = ''] = idsOf(await stack.memory.saveChats(turns(contextId, 2)));
    await stack.idle('chat');
    await stack.memory.flushRedisToSupabase();
    const sealedAnew = `v1.n_w.${'A'.repeat(16)}.${'B'.repeat(40)}`;
    let met = 0;
    stack.proxy.fault = ({ method }) => {
      if (method !== 'PATCH') return null;
      met += 1;
      return { lateMs: 300 };
    };
    const running = rekey();
    await eventually(() => met >= 2);
    await stack.supabase.from('memories').delete().eq('id', erased);
    await stack.supabase.from('memories').update({ text_cache: sealedAnew }).eq('id', changed);
    await running;
    const { data } = await stack.supabase.from('memories').select('id,text_cache').eq('context_id', contextId);
    expect(data).toEqual([{ id: changed, text_cache: sealedAnew }]);
  });

  test('what is changed or goes between reading and writing stays so in Redis as well', async () => {
    await stack.startWorkers('chat');
    const [changed = '', gone = ''] = idsOf(await stack.memory.saveChats(turns(contextId, 2)));
    await stack.idle('chat');
    const key = `memory:conversation:${contextId}`;
    const rows = (await Array.fromAsync(new SealedCache(stack.client, new Keys(false)).conversations())).flat();
    const [json, other] = [await stack.client.hget(key, changed), '{"changed":"since"}'];
    expect(rows.map(({ id }) => id).toSorted()).toEqual([changed, gone].toSorted());
    await stack.client.hset(key, changed, other);
    await stack.client.hdel(key, gone);
    const exchange = (id: string) => {
      const row = rows.find((each) => each.id === id);
      return row?.exchange({ tokens: row.tokens, textCache: null });
    };
    expect([await exchange(changed), await exchange(gone)]).toEqual([false, false]);
    expect(await stack.client.hgetall(key)).toEqual({ [changed]: other });
    // As it was read, it is exchanged.
    await stack.client.hset(key, changed, json ?? '');
    expect(await exchange(changed)).toBe(true);
  });

  test('a run that was stopped goes on where it was', async () => {
    await stack.startWorkers('chat', 'flush');
    await stack.memory.saveChats(turns(contextId, 40));
    await stack.idle('chat');
    await stack.memory.flushRedisToSupabase();
    let patches = 0;
    stack.proxy.fault = ({ method }) => (method === 'PATCH' && ++patches > 20 ? { status: 503 } : null);
    await expect(rekey()).rejects.toMatchObject({ code: 'supabase_unavailable' });
    expect(await kidsInUse()).toEqual(['n_w', 'old']);
    stack.proxy.fault = () => null;
    const result = await rekey();
    expect(result.left).toEqual({});
    expect(result.resealed.memories).toBeLessThan(80);
    expect((await readAll()).length).toBe(40);
  });

  test('while turns are saved, flushed and read nothing is lost', async () => {
    await stack.startWorkers('flush');
    const [before] = await stack.startWorkers('chat');
    await stack.memory.saveChats(turns(contextId, 200));
    await stack.idle('chat');
    await before?.stop();
    stack.environment['MEMORY_ENCRYPTION_KEYS'] = keyed('n_w', 'old');
    await stack.startWorkers('chat');
    const both = { MEMORY_ENCRYPTION_KEYS: keyed('n_w', 'old') };
    await withMemory(both, async (memory) => {
      const saving = memory.saveChats(turns(contextId, 200, 200));
      const flushing = memory.flushRedisToSupabase({ batchSize: 10 });
      const result = await rekey();
      await Promise.all([saving, flushing]);
      await stack.idle('chat');
      await memory.flushRedisToSupabase();
      expect(result.failures).toEqual([]);
    });
    expect((await rekey()).left).toEqual({});
    expect(await kidsInUse()).toEqual(['n_w']);
    expect(await readAll()).toEqual(Array.from({ length: 400 }, (_, n) => `question ${n}`));
  });

  test('seals what was plain before encryption was switched on, when asked to', async () => {
    const plain = { MEMORY_ENCRYPT_TOKENS: 'false', MEMORY_TEXT_CACHE: 'plain' };
    Object.assign(stack.environment, plain);
    await stack.startWorkers('chat', 'flush');
    await stack.memory.saveChats(turns(contextId, 2));
    await stack.idle('chat');
    await stack.memory.flushRedisToSupabase();
    await stack.memory.saveChat(turn(contextId, 2), { wait: true });
    const on = { MEMORY_ENCRYPT_TOKENS: 'true', MEMORY_TEXT_CACHE: 'encrypted' };
    expect(await rekey(['n_w'], {}, on)).toMatchObject({ left: {}, plain: 10, resealed: { memories: 0, cache: 0 } });
    expect(await rekey(['n_w'], { sealPlain: true }, on)).toMatchObject({
      left: {},
      plain: 0,
      resealed: { memories: 4, cache: 6 },
    });
    expect(await kidsInUse()).toEqual(['n_w']);
    Object.assign(stack.environment, on);
    expect(await readAll()).toEqual(['question 0', 'question 1', 'question 2']);
    await expect(rekey(['n_w'], { sealPlain: true }, plain)).rejects.toThrow(/sealPlain: expected/);
  });
});

test('the command tells what is done and what is left, and its exit code whether an old key can go', async () => {
  const environment = { MEMORY_ENCRYPTION_KEYS: keyed('old') };
  const stack = await startStack({ supabase: service, environment });
  try {
    await stack.supabase.from('memories').delete().not('id', 'is', null);
    await stack.startWorkers('chat', 'flush');
    await stack.memory.saveChat(turn(stack.newContextId(), 1), { wait: true });
    await stack.memory.flushRedisToSupabase();
    const keys = { ...stack.environment, MEMORY_ENCRYPTION_KEYS: keyed('n_w', 'old') };
    const command = async (...args: string[]) => runCommand(['rekey', ...args], { environment: keys });
    const counted = await command('--dry-run');
    expect(counted).toMatchObject({ code: 1, stdout: '✗ 2 values sealed with key old\n' });
    const done = await command();
    expect(done).toMatchObject({ code: 0, stderr: `${'rows looked at'.padEnd(22)} 1/1\n` });
    expect(done.stdout).toBe(
      '2 values sealed anew with key n_w\n✓ no key but n_w is in use: any other may go from MEMORY_ENCRYPTION_KEYS\n',
    );
    const json = await command('--dry-run', '--json');
    expect([json.code, json.stderr, JSON.parse(json.stdout).left]).toEqual([0, '', {}]);
    const none = await runCommand(['rekey'], { environment: { ...keys, MEMORY_ENCRYPTION_KEYS: '' } });
    expect(none).toMatchObject({ code: 2, stderr: expect.stringMatching(/MEMORY_ENCRYPTION_KEYS: expected keys/) });
  } finally {
    await stack.stop();
  }
});
