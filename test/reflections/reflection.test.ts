/**
 * **test/reflections/**: reflections and knowledge: how they come about, are pinned, verified, imported and traced.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import type { MnemoqError } from '../../shared/errors.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startFaultProxy } from '../support/faults/fault-proxy.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';

const TEXT = 'I answered too fast; 下次先問清楚預算。MARKER-7f3a';

describe.each([CHOSEN_SUPABASE])('a reflection, on the %s Supabase', (supabase) => {
  let stack: Stack;
  beforeEach(async () => {
    stack = await startStack({ supabase });
  });
  afterEach(() => stack.stop());

  async function rows(contextId: string) {
    const memories = await stack.supabase.from('memories').select('*').eq('context_id', contextId);
    const reflections = await stack.supabase.from('memory_reflections').select('*').eq('context_id', contextId);
    return { memories: memories.data ?? [], reflections: (reflections.data ?? []) as ReflectionRow[] };
  }

  test('is committed, pinned, written back to both tables and returned with its CID', async () => {
    await stack.startWorkers('reflection');
    const contextId = stack.newContextId();
    const receipt = await stack.memory.saveReflection({ contextId, userId: 'u', reflectionText: TEXT }, { wait: true });
    expect(receipt).toMatchObject({
      supabaseStored: true,
      cid: expect.stringMatching(/^bafkrei/),
      note: 'committed and pinned',
    });
    const { memories, reflections } = await rows(contextId);
    expect(memories).toMatchObject([{ id: receipt.id, module: 'reflection', cid: receipt.cid, user_id: 'u' }]);
    expect(reflections).toMatchObject([
      { id: receipt.id, cid: receipt.cid, visibility: 'private', pinned_at: expect.any(String) },
    ]);
    expect(await stack.memory.getReflectionCid(contextId)).toBe(receipt.cid);
    expect(await stack.memory.getStatus(receipt.id)).toMatchObject({ status: 'pinned', cid: receipt.cid });
    const verification = await stack.memory.verify(receipt.cid ?? '');
    expect(verification.checks.map(({ name, ok }) => [name, ok])).toEqual(
      ['fetched', 'cid', 'document', 'signature', 'key', 'row', 'digest', 'record', 'tokens'].map((name) => [
        name,
        true,
      ]),
    );
    const [read] = (await stack.memory.getMemoryContext(contextId)).items;
    expect(read).toMatchObject({ module: 'reflection', text: TEXT, cid: receipt.cid });
  });

  test('a private one leaves no plain text in Supabase or on IPFS; a public one is readable by anybody', async () => {
    await stack.startWorkers('reflection');
    const contextId = stack.newContextId();
    const save = (visibility: 'private' | 'public') =>
      stack.memory.saveReflection({ contextId, reflectionText: TEXT, visibility }, { wait: true });
    const [hidden, open] = [await save('private'), await save('public')];
    const dir = path.join(stack.environment['MNEMOQ_DATA_DIR'] ?? '', 'ipfs', 'blocks');
    const blocks = readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(path.join(entry.parentPath, entry.name), 'utf8'));
    expect(blocks.filter((block) => block.includes('MARKER-7f3a'))).toHaveLength(1);
    const base64 = Buffer.from(TEXT).toString('base64url').slice(0, 40);
    expect(blocks.filter((block) => block.includes(base64))).toEqual([]);
    const { memories, reflections } = await rows(contextId);
    expect(JSON.stringify(memories)).not.toContain('MARKER-7f3a');
    expect(reflections.find(({ id }) => id === hidden.id)?.wrapped_key).toMatch(/^v1\.k1\./);
    expect(reflections.find(({ id }) => id === open.id)?.wrapped_key).toBeNull();
  });

  test('with IPFS away is committed and readable at once, says so, and gets its CID when IPFS is back', async () => {
    const away = await startFaultProxy(stack.ipfs.url);
    away.fault = () => 'reset';
    stack.environment['IPFS_API_URL'] = away.url;
    await stack.startWorkers('reflection');
    const contextId = stack.newContextId();
    const { id } = await stack.memory.saveReflection({ contextId, reflectionText: TEXT });
    await eventually(() => away.requests.length > 0);
    expect((await stack.memory.getMemoryContext(contextId)).items).toMatchObject([{ id, text: TEXT, cid: null }]);
    expect(await stack.memory.getStatus(id)).toMatchObject({
      status: 'committed',
      reason: 'not pinned yet',
      cid: null,
    });
    const [planned] = (await stack.memory.getReflections(contextId)).items;
    expect(planned).toMatchObject({ pinnedAt: null });
    expect(await stack.memory.getReflectionCid(contextId)).toBeNull();
    away.fault = () => null;
    await eventually(async () => (await stack.memory.getStatus(id)).status === 'pinned');
    expect(await stack.memory.getReflectionCid(contextId)).toBe(planned?.cid);
    await away.stop();
  });

  test('an IPFS node that answers another CID is not believed, and no CID is written', async () => {
    const lying = await startFaultProxy(stack.ipfs.url);
    const body = { Name: 'x', Hash: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku', Size: '0' };
    lying.fault = () => ({ status: 200, body });
    stack.environment['IPFS_API_URL'] = lying.url;
    await stack.startWorkers('reflection');
    const contextId = stack.newContextId();
    const { id } = await stack.memory.saveReflection({ contextId, reflectionText: TEXT });
    await eventually(async () => ((await stack.queue('reflection').getJob(id))?.attemptsStarted ?? 0) >= 2);
    expect((await rows(contextId)).memories).toMatchObject([{ id, cid: null }]);
    lying.fault = () => null;
    await eventually(async () => (await stack.memory.getStatus(id)).status === 'pinned');
    await lying.stop();
  });

  test('a retry after a lost answer repeats no upload and keeps key and CID', async () => {
    const ipfs = await startFaultProxy(stack.ipfs.url);
    stack.environment['IPFS_API_URL'] = ipfs.url;
    const cids: string[] = [];
    let failures = 2;
    stack.proxy.fault = ({ method, url, body }) => {
      if (method === 'POST' && url.includes('memory_reflections')) cids.push(JSON.parse(body).cid);
      return method === 'PATCH' && failures-- > 0 ? { status: 503 } : null;
    };
    await stack.startWorkers('reflection');
    const contextId = stack.newContextId();
    const receipt = await stack.memory.saveReflection({ contextId, reflectionText: TEXT }, { wait: true });
    expect(ipfs.requests.filter(({ url }) => url.startsWith('/api/v0/add'))).toHaveLength(1);
    expect(cids.length).toBeGreaterThanOrEqual(3);
    const { memories, reflections } = await rows(contextId);
    expect([memories.length, reflections.length, reflections[0]?.cid]).toEqual([1, 1, receipt.cid]);
    expect((await stack.memory.verify(receipt.cid ?? '')).ok).toBe(true);
    await ipfs.stop();
  });

  test('the wrapped key is in Supabase before the ciphertext is on IPFS', async () => {
    const ipfs = await startFaultProxy(stack.ipfs.url);
    const keptBefore: boolean[] = [];
    ipfs.fault = () => {
      keptBefore.push(
        stack.proxy.requests.some(({ method, url }) => method === 'POST' && url.includes('memory_reflections')),
      );
      return null;
    };
    stack.environment['IPFS_API_URL'] = ipfs.url;
    await stack.startWorkers('reflection');
    await stack.memory.saveReflection({ contextId: stack.newContextId(), reflectionText: TEXT }, { wait: true });
    expect(keptBefore).toEqual([true]);
    await ipfs.stop();
  });

  test('with Supabase away is readable from Redis, and finished when Supabase is back, once', async () => {
    stack.proxy.fault = () => ({ status: 503 });
    await stack.startWorkers('reflection', 'flush');
    const contextId = stack.newContextId();
    const { id } = await stack.memory.saveReflection({ contextId, reflectionText: TEXT });
    // Between its worker's first look at it and its place in Redis only Supabase could tell where it is.
    const status = async () => stack.memory.getStatus(id).catch((error) => ({ status: (error as MnemoqError).code }));
    await eventually(async () => {
      const { status: now } = await status();
      expect(['queued', 'supabase_unavailable', 'cached']).toContain(now);
      return now === 'cached';
    });
    const partial = await stack.memory.loadRecentContext(contextId, { allowPartial: true });
    expect(partial.items).toMatchObject([{ id, text: TEXT }]);
    stack.proxy.fault = () => null;
    await eventually(async () => (await stack.memory.getStatus(id)).status === 'pinned');
    const { memories, reflections } = await rows(contextId);
    expect([memories.length, reflections.length]).toEqual([1, 1]);
    expect((await stack.memory.getStats()).pendingQueueLength).toBe(0);
  });

  test('the same idempotency key is the same reflection', async () => {
    await stack.startWorkers('reflection');
    const contextId = stack.newContextId();
    const input = { contextId, reflectionText: TEXT, idempotencyKey: 'once' };
    const first = await stack.memory.saveReflection(input, { wait: true });
    const second = await stack.memory.saveReflection(input, { wait: true });
    expect(second).toMatchObject({ id: first.id, cid: first.cid });
    await (await stack.queue('reflection').getJob(first.id))?.remove();
    const third = await stack.memory.saveReflection(input, { wait: true });
    expect(third).toMatchObject({ id: first.id, cid: first.cid });
    expect((await rows(contextId)).memories).toHaveLength(1);
    expect((await stack.memory.verify(first.cid ?? '')).ok).toBe(true);

    await (await stack.queue('reflection').getJob(first.id))?.remove();
    const other = stack.memory.saveReflection({ ...input, reflectionText: 'another text' }, { wait: true });
    await expect(other).rejects.toThrow('the first one stays');
    expect((await stack.memory.verify(first.cid ?? '')).ok).toBe(true);
  });
});
