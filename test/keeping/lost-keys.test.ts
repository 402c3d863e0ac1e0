import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MemoryCore } from '../../producers/index.ts';
import { runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startFaultProxy } from '../support/faults/fault-proxy.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';

const newKey = (kid: string) => `${kid}:${randomBytes(32).toString('base64')}`;

let stack: Stack;
let contextId: string;
beforeEach(async () => {
  const environment = { MEMORY_ENCRYPTION_KEYS: newKey('k1'), MEMORY_ENCRYPT_TOKENS: 'true' };
  stack = await startStack({ supabase: 'postgrest', environment });
  contextId = stack.newContextId();
});
afterEach(() => stack.stop());

type Reads = Record<string, (memory: MemoryCore, id: string) => Promise<unknown>>;
/** Every call that opens what is sealed. */
const READS: Reads = {
  getMemoryContext: async (memory) => memory.getMemoryContext(contextId),
  'getMemoryContext of a user': async (memory) => memory.getMemoryContext(contextId, { userId: 'user-1' }),
  'getMemoryContext, partial': async (memory) => memory.getMemoryContext(contextId, { allowPartial: true }),
  'loadRecentContext turns': async (memory) => memory.loadRecentContext(contextId),
  'loadRecentContext messages': async (memory) => memory.loadRecentContext(contextId, { format: 'messages' }),
  'loadRecentContext tokens': async (memory) =>
    memory.loadRecentContext(contextId, { format: 'tokens', maxTokens: 1000 }),
  inspect: async (memory, id) => memory.inspect(id),
  'export tokens': async (memory) => Array.fromAsync(memory.exportTrainingData({ contextId, format: 'tokens' })),
  'export openai': async (memory) => Array.fromAsync(memory.exportTrainingData({ contextId, format: 'openai' })),
  'export sharegpt': async (memory) => Array.fromAsync(memory.exportTrainingData({ contextId, format: 'sharegpt' })),
};

/** What each of the reads says. */
async function outcomes(id: string, settings: Record<string, string>): Promise<Record<string, string>> {
  const memory = new MemoryCore({ ...stack.environment, ...settings });
  try {
    const outcomeOf = async (read: Reads[string]) =>
      read(memory, id).then(
        () => 'read',
        (error) => `${error.code}: ${error.message}`,
      );
    const entries = Object.entries(READS).map(async ([name, read]) => [name, await outcomeOf(read)] as const);
    return Object.fromEntries(await Promise.all(entries));
  } finally {
    await memory.close();
  }
}

const everyRead = (outcome: unknown) => Object.fromEntries(Object.keys(READS).map((name) => [name, outcome]));

async function rowsOf(): Promise<unknown> {
  const memories = await stack.supabase.from('memories').select('*').eq('context_id', contextId).order('id');
  const reflections = await stack.supabase.from('memory_reflections').select('*').eq('context_id', contextId);
  return [memories.data, reflections.data];
}

async function commit(count: number): Promise<string[]> {
  await stack.startWorkers('chat', 'flush');
  const ids = idsOf(await stack.memory.saveChats(turns(contextId, count)));
  await stack.idle('chat');
  await stack.memory.flushRedisToSupabase();
  return ids;
}

describe('a lost key', () => {
  test.each([
    ['another key is there', { MEMORY_ENCRYPTION_KEYS: newKey('k2') }],
    ['there is no key', { MEMORY_ENCRYPTION_KEYS: '', MEMORY_ENCRYPT_TOKENS: 'false' }],
  ])('stops every read, cached and not, naming it, and changes nothing where %s', async (_where, settings) => {
    const [id = ''] = await commit(3);
    const before = await rowsOf();
    const named = expect.stringMatching(/^key_missing: tokens:[\w-]+ is sealed with key "k1".*MEMORY_ENCRYPTION_KEYS/);
    expect(await outcomes(id, settings)).toEqual(everyRead(named));
    await stack.client.flushall();
    expect(await outcomes(id, settings)).toEqual(everyRead(named));
    expect(await rowsOf()).toEqual(before);
    const ended = await runCommand(['context', contextId], { environment: { ...stack.environment, ...settings } });
    expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^error: tokens:.* key "k1"/) });
    expect(await outcomes(id, {})).toEqual(everyRead('read'));
  });

  test('of one record stops the reads that would have to be without it, and no other', async () => {
    const ids = await commit(3);
    const [lost = ''] = ids;
    const { data } = await stack.supabase.from('memories').select('tokens').eq('id', lost);
    const sealed = data?.[0]?.tokens.sealed.replace('v1.k1.', 'v1.k0.');
    await stack.supabase
      .from('memories')
      .update({ tokens: { ...data?.[0]?.tokens, sealed } })
      .eq('id', lost);
    await stack.client.flushall();
    const named = { code: 'key_missing', message: expect.stringContaining(`tokens:${lost} is sealed with key "k0"`) };
    await expect(stack.memory.getMemoryContext(contextId)).rejects.toMatchObject(named);
    expect((await stack.memory.loadRecentContext(contextId, { limit: 2 })).items.map(({ id }) => id)).toEqual(
      ids.slice(1),
    );
    await expect(stack.memory.inspect(lost)).rejects.toMatchObject(named);
    expect((await stack.memory.inspect(ids[1] ?? '')).record.id).toBe(ids[1]);
  });

  test('of a reflection fails its verification at the digest, and its worker waits for the key', async () => {
    const node = await startFaultProxy(stack.ipfs.url);
    stack.environment['IPFS_API_URL'] = node.url;
    const [first] = await stack.startWorkers('reflection');
    const { cid } = await stack.memory.saveReflection({ contextId, reflectionText: 'pinned' }, { wait: true });
    node.fault = ({ url }) => (url.startsWith('/api/v0/add') ? 'reset' : null);
    const asked = node.requests.length;
    const { id } = await stack.memory.saveReflection({ contextId, reflectionText: 'on its way' });
    await eventually(() => node.requests.length > asked);
    await first?.stop();
    node.fault = () => null;
    const before = await rowsOf();

    const k1 = stack.environment['MEMORY_ENCRYPTION_KEYS'] ?? '';
    const k2 = newKey('k2');
    stack.environment['MEMORY_ENCRYPTION_KEYS'] = k2;
    const memory = new MemoryCore(stack.environment);
    const verification = await memory.verify(cid ?? '');
    await memory.close();
    expect(verification.checks.filter(({ ok }) => !ok)).toEqual([
      { name: 'digest', ok: false, detail: expect.stringMatching(/^key:[\w-]+ is sealed with key "k1"/) },
    ]);
    const [without] = await stack.startWorkers('reflection');
    const attempts = async () => (await stack.queue('reflection').getJob(id))?.attemptsStarted ?? 0;
    const made = await attempts();
    await eventually(
      async () => (await attempts()) > made && (await stack.queue('reflection').getDelayedCount()) === 1,
    );
    await without?.stop();
    expect(await rowsOf()).toEqual(before);
    stack.environment['MEMORY_ENCRYPTION_KEYS'] = `${k2},${k1}`;
    await stack.startWorkers('reflection');
    await eventually(async () => (await stack.memory.getStatus(id)).status === 'pinned');
    await node.stop();
  });
});

describe('a record that is plain where tokens must be encrypted', () => {
  const planted = { encoding: 'cl100k_base', user: [15339], assistant: [15339] };
  const refused = expect.stringMatching(
    /^plain_data_refused: tokens:[\w-]+ is not encrypted.*mnemoq rekey --seal-plain/,
  );

  test('in Supabase is refused by every read, and read where that is allowed', async () => {
    const [id = ''] = await commit(2);
    await stack.client.flushall();
    await stack.supabase.from('memories').update({ tokens: planted }).eq('id', id);
    expect(await outcomes(id, {})).toEqual(everyRead(refused));
    expect(await outcomes(id, { MEMORY_ALLOW_PLAIN_ROWS: 'true' })).toEqual(everyRead('read'));
    expect(await outcomes(id, { MEMORY_ENCRYPT_TOKENS: 'false' })).toEqual(everyRead('read'));
  });

  test('in Redis is refused as well', async () => {
    await stack.startWorkers('chat');
    const { id } = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    const key = `memory:conversation:${contextId}`;
    const { sealed: _sealed, counts: _counts, ...cached } = JSON.parse((await stack.client.hget(key, id)) ?? '');
    await stack.client.hset(key, id, JSON.stringify({ ...cached, ...planted }));
    const said = await outcomes(id, {});
    for (const name of Object.keys(READS).filter((each) => /^(get|load|inspect)/.test(each)))
      expect([name, said[name]]).toEqual([name, refused]);
  });

  test('in quarantine is not committed', async () => {
    await stack.startWorkers('flush');
    const [id, createdAt] = ['01a200c3-1fec-7624-8835-6a9eafcae777', '2026-01-01T00:00:00.000Z'];
    const row = { id, user_id: 'u', context_id: contextId, module: 'chat', cid: null, created_at: createdAt };
    const retry = async (more: object) => {
      const data = { row: { ...row, ...more }, error: { code: '22P05', message: 'x' } };
      await (await stack.queue('quarantine').getJob(id))?.remove();
      await stack.queue('quarantine').add('quarantine', data, { jobId: id });
      await stack.idle('quarantine');
      return stack.memory.retryQuarantined(id);
    };
    expect(await retry({ tokens: planted, text_cache: null })).toEqual({
      committed: false,
      reason: expect.stringMatching(/tokens:.* is not encrypted although MEMORY_ENCRYPT_TOKENS is true/),
    });
    const sealed = `v1.k1.${'A'.repeat(16)}.${'B'.repeat(40)}`;
    const tokens = { encoding: 'cl100k_base', sealed, counts: { user: 1, assistant: 1 } };
    expect(await retry({ tokens, text_cache: '{"user":"hi"}' })).toEqual({
      committed: false,
      reason: expect.stringMatching(/text:.* is not encrypted although MEMORY_TEXT_CACHE is encrypted/),
    });
    expect(await retry({ tokens, text_cache: sealed })).toEqual({ committed: true, reason: null });
  });

  test('could not be told without keys, so no reader starts without them', async () => {
    expect(() => new MemoryCore({ ...stack.environment, MEMORY_ENCRYPTION_KEYS: '' })).toThrow(
      /MEMORY_ENCRYPTION_KEYS: expected .*, found nothing/,
    );
    await stack.startWorkers('chat');
    await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    expect((await stack.memory.getMemoryContext(contextId)).items).toHaveLength(1);
  });
});
