import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import canonicalize from 'canonicalize';
import { computeCid, Ipfs } from '../../shared/pinning/ipfs.ts';
import type { ReflectionJob } from '../../shared/records/jobs.ts';
import { createReflectionDocument, DOCUMENT_BYTES, toBytes } from '../../shared/pinning/reflection-document.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import { type FaultProxy, startFaultProxy } from '../support/faults/fault-proxy.ts';
import { type OwnSupabase, startOwnSupabase } from '../support/services/own-supabase.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE, type SupabaseName } from '../support/services/supabase-service.ts';

const WAIT = { wait: true } as const;

/** Two that do not share a database. */
const WAYS: [from: SupabaseName, into: SupabaseName | 'other postgrest'][] =
  CHOSEN_SUPABASE === 'embedded'
    ? [
        ['embedded', 'postgrest'],
        ['postgrest', 'embedded'],
      ]
    : [['postgrest', 'other postgrest']];

describe.each(WAYS)('from a Mnemoq on the %s Supabase into one on the %s', (from, into) => {
  let other: OwnSupabase | null = null;
  let author: Stack;
  let reader: Stack;
  /** Stands between the reader and the author's IPFS node, which is the network they share. */
  let network: FaultProxy;
  beforeAll(async () => {
    author = await startStack({ supabase: from });
    network = await startFaultProxy(author.ipfs.url);
    other = into === 'other postgrest' ? await startOwnSupabase('postgrest') : null;
    const supabase = other ?? (into as SupabaseName);
    reader = await startStack({ supabase, environment: { IPFS_API_URL: network.url } });
    await author.startWorkers('reflection');
    await reader.startWorkers('reflection', 'chat');
  });
  afterEach(() => {
    network.fault = () => null;
  });
  afterAll(async () => {
    await reader.stop();
    await network.stop();
    await author.stop();
    await other?.stop();
  });

  const rowsOf = async (stack: Stack, id: string) => {
    const [memories, reflections] = await Promise.all(
      ['memories', 'memory_reflections'].map((table) => stack.supabase.from(table).select('*').eq('id', id)),
    );
    return { memories: memories?.data ?? [], reflections: reflections?.data ?? [] };
  };

  test('an item is the same record with the same CID, signed by its author, and it verifies', async () => {
    const contextId = author.newContextId();
    const text = `番茄喜歡太陽 ${randomUUID()}`;
    const published = await author.memory.saveKnowledge({ contextId, text, userId: 'ann' }, WAIT);
    const cid = published.cid ?? '';
    const receipt = await reader.memory.importKnowledge({ cid, userId: 'ben' }, WAIT);
    expect(receipt).toMatchObject({ id: published.id, cid, conversationId: contextId, note: 'committed and pinned' });

    const [theirs, ours] = [await rowsOf(author, published.id), await rowsOf(reader, published.id)];
    const { user_id: _ann, pinned_at: _theirs, created_at, ...row } = theirs.reflections[0];
    expect(ours.reflections).toMatchObject([{ ...row, user_id: 'ben', pinned_at: expect.any(String) }]);
    expect(Date.parse(ours.reflections[0].created_at)).toBe(Date.parse(created_at));
    expect(ours.memories).toMatchObject([{ id: published.id, module: 'knowledge', cid, user_id: 'ben' }]);
    const listed = await reader.memory.listKnowledge({ query: text });
    expect(listed.items).toMatchObject([{ id: published.id, cid, text }]);
    const verification = await reader.memory.verify(cid);
    expect(verification.ok).toBe(true);
    const { detail } = verification.checks.find(({ name }) => name === 'key') ?? {};
    expect(detail).toMatch(/^key [0-9a-f]{16} is not one of ours: knowledge of another Mnemoq$/);

    await (await reader.queue('reflection').getJob(published.id))?.remove();
    const again = await reader.memory.importKnowledge({ cid }, WAIT);
    expect(again).toMatchObject({ id: published.id, cid, note: 'was here already' });
    expect(await rowsOf(reader, published.id)).toEqual(ours);
  });

  test('it can be filed in a conversation of the reader’s, and twice at once is one row', async () => {
    const text = `filed ${randomUUID()}`;
    const published = await author.memory.saveKnowledge({ contextId: author.newContextId(), text }, WAIT);
    const contextId = reader.newContextId();
    const cid = published.cid ?? '';
    const receipts = await Promise.all([1, 2, 3].map(() => reader.memory.importKnowledge({ cid, contextId }, WAIT)));
    expect(new Set(receipts.map(({ id }) => id))).toEqual(new Set([published.id]));
    expect((await reader.memory.getMemoryContext(contextId)).items).toMatchObject([{ id: published.id, text, cid }]);
    expect((await rowsOf(reader, published.id)).reflections).toMatchObject([{ context_id: contextId }]);
    expect(await reader.memory.verify(cid)).toMatchObject({ ok: true });
  });

  test('what its author publishes is not taken without its key where keys are named', async () => {
    const published = await author.memory.saveKnowledge({ contextId: author.newContextId(), text: 'named' }, WAIT);
    const cid = published.cid ?? '';
    const { publicKey } = new Signer(Buffer.from(author.environment['MEMORY_SIGNING_KEY'] ?? '', 'base64'));
    const other = new Signer(randomBytes(32)).publicKey;
    const refused = reader.memory.importKnowledge({ cid, trustedKeys: [other] }, WAIT);
    await expect(refused).rejects.toMatchObject({ code: 'unverified', problems: [{ field: 'signing key' }] });
    expect(await rowsOf(reader, published.id)).toEqual({ memories: [], reflections: [] });
    const taken = await reader.memory.importKnowledge({ cid, trustedKeys: [other, publicKey] }, WAIT);
    expect(taken.cid).toBe(cid);
  });

  describe('is refused, named by the link, with nothing stored:', () => {
    const signer = new Signer(randomBytes(32));
    const jobOf = (more: Partial<ReflectionJob> = {}): ReflectionJob => ({
      id: randomUUID(),
      contextId: `from afar ${randomUUID()}`,
      reflectionText: 'Water boils at 100 °C.',
      visibility: 'public',
      module: 'knowledge',
      createdAt: '2026-01-02T03:04:05.678Z',
      ...more,
    });
    const documentOf = (more?: Partial<ReflectionJob>, key: Buffer | null = null) =>
      createReflectionDocument(jobOf(more), key, signer);
    /** Signed anew, so that only what was changed is wrong. */
    const changed = (change: object) => {
      const { signature: _old, ...body } = { ...documentOf(), ...change };
      return { ...body, signature: signer.sign(canonicalize(body) as string) };
    };
    const bytesOf = (value: object) => new TextEncoder().encode(canonicalize(value));
    const publish = async (bytes: Uint8Array) => {
      const cid = await computeCid(bytes);
      await new Ipfs(author.ipfs.url, 10_000).pin(bytes, cid);
      return cid;
    };
    const refusal = async (cid: string) => {
      const { promise, resolve } = Promise.withResolvers<{ code: string; problems: { field: string }[] }>();
      reader.memory.importKnowledge({ cid }, WAIT).then(() => resolve({ code: 'taken', problems: [] }), resolve);
      const { code, problems } = await promise;
      return [code, ...problems.map(({ field }) => field)];
    };
    const nothingOf = async (id: string) => {
      expect(await rowsOf(reader, id)).toEqual({ memories: [], reflections: [] });
      expect(await reader.queue('reflection').getJob(id)).toBeUndefined();
      expect(await reader.client.hget('memory:pending-index', id)).toBeNull();
    };

    const WRONG: [what: string, link: string, bytes: () => { id?: string } & object][] = [
      ['a digest of another text', 'digest', () => changed({ sha256: '0'.repeat(64) })],
      ['a signature of another text', 'signature', () => ({ ...documentOf(), text: 'Water boils at 90 °C.' })],
      ['a key id of another key', 'signature', () => changed({ signingKeyId: '0123456789abcdef' })],
      ['a private one', 'document', () => documentOf({ module: 'reflection' }, randomBytes(32))],
      ['a private one that calls itself knowledge', 'document', () => documentOf({}, randomBytes(32))],
      ['a reflection', 'document', () => documentOf({ module: 'reflection' })],
      ['a field nobody knows', 'document', () => changed({ more: 1 })],
      ['a moment in another spelling', 'document', () => changed({ createdAt: '2026-01-02T03:04:05Z' })],
      ['an empty text', 'document', () => documentOf({ reflectionText: '' })],
      ['a conversation that PostgreSQL cannot store', 'document', () => changed({ contextId: 'a\0b' })],
    ];
    test.each(WRONG)('%s (%s)', async (_what, link, make) => {
      const doc = make();
      expect(await refusal(await publish(bytesOf(doc)))).toEqual(['unverified', link]);
      await nothingOf(doc.id ?? '');
    });

    test('JSON in another form, and what is no JSON', async () => {
      const doc = documentOf();
      const loose = new TextEncoder().encode(JSON.stringify(doc, null, 1));
      expect(await refusal(await publish(loose))).toEqual(['unverified', 'document']);
      await nothingOf(doc.id);
      expect(await refusal(await publish(new Uint8Array([0xff, 0xfe])))).toEqual(['unverified', 'document']);
    });

    test('a node that answers with other bytes', async () => {
      const [asked, given] = [documentOf(), documentOf()];
      const cid = await computeCid(toBytes(asked));
      network.fault = ({ url }) => (url.includes('/cat') ? { status: 200, body: given } : null);
      expect(await refusal(cid)).toEqual(['unverified', 'cid']);
      await nothingOf(asked.id);
      await nothingOf(given.id);
    });

    test('more than a document can be', async () => {
      const doc = documentOf();
      const cid = await computeCid(toBytes(doc));
      network.fault = ({ url }) =>
        url.includes('/cat') ? { status: 200, body: { ...doc, text: 'x'.repeat(DOCUMENT_BYTES) } } : null;
      expect(await refusal(cid)).toEqual(['unverified', 'size']);
    });

    test('what nobody has, and a node that is away', async () => {
      const doc = documentOf();
      const cid = await computeCid(toBytes(doc));
      expect(await refusal(cid)).toEqual(['ipfs_unavailable']);
      network.fault = () => 'reset';
      expect(await refusal(cid)).toEqual(['ipfs_unavailable']);
      await nothingOf(doc.id);
    });

    test('what is no CID', async () => {
      await expect(reader.memory.importKnowledge({ cid: 'bafynope' })).rejects.toMatchObject({ code: 'invalid_input' });
    });

    test('the id of another record, which stays as it is', async () => {
      const contextId = reader.newContextId();
      const turn = { contextId, userId: 'u', userMessage: 'q', assistantMessage: 'a' };
      const { id } = await reader.memory.saveChat({ ...turn, important: true }, WAIT);
      const pending = await reader.memory.saveChat(turn, WAIT);
      for (const taken of [id, pending.id]) {
        const cid = await publish(toBytes(documentOf({ id: taken })));
        await expect(reader.memory.importKnowledge({ cid }, WAIT)).rejects.toThrow('another record has the id');
        expect((await rowsOf(reader, taken)).reflections).toEqual([]);
      }
      const { items: records } = await reader.memory.getMemoryContext(contextId);
      expect(records).toMatchObject([{ id, cid: null }, { id: pending.id }]);
    });

    test('a job that does not make the document it names, whoever added it', async () => {
      const doc = documentOf();
      const { id, contextId, createdAt, signingKey, signature } = doc;
      const cid = await computeCid(toBytes(doc));
      const job = { id, contextId, createdAt, visibility: 'public', module: 'knowledge', reflectionText: 'Other.' };
      const imported = { cid, contextId, signingKey, signature };
      await reader.queue('reflection').add('reflection', { ...job, imported }, { jobId: id });
      await reader.idle('reflection');
      const { failedReason = '' } = (await reader.queue('reflection').getJob(id)) ?? {};
      expect(failedReason).toContain('this is not the item that was imported: cid: expected');
      expect(await rowsOf(reader, id)).toEqual({ memories: [], reflections: [] });
    });

    test('anything into an erased conversation', async () => {
      const { contextId } = documentOf();
      await reader.startWorkers('flush');
      await reader.memory.forget({ contextId });
      const doc = documentOf({ contextId });
      expect(await refusal(await publish(toBytes(doc)))).toEqual(['erased']);
      await nothingOf(doc.id);
    });
  });
});
