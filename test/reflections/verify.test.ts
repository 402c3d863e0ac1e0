import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import canonicalize from 'canonicalize';
import { MemoryCore, type Verification } from '../../producers/index.ts';
import { computeCid, Ipfs } from '../../shared/pinning/ipfs.ts';
import { fromBytes, type ReflectionDocument, toBytes } from '../../shared/pinning/reflection-document.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import { runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { type FaultProxy, startFaultProxy } from '../support/faults/fault-proxy.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const NAMES = ['fetched', 'cid', 'document', 'signature', 'key', 'row', 'digest', 'record', 'tokens'];
const newSeed = () => randomBytes(32).toString('base64');
const signerOf = (seed: string) => new Signer(Buffer.from(seed, 'base64'));

let stack: Stack;
let proxy: FaultProxy; // before IPFS
let ipfs: Ipfs;
let signer: Signer;
beforeAll(async () => {
  stack = await startStack({ supabase: 'postgrest' });
  await stack.startWorkers('reflection');
  proxy = await startFaultProxy(stack.ipfs.url);
  ipfs = new Ipfs(stack.ipfs.url, 30_000);
  signer = signerOf(stack.environment['MEMORY_SIGNING_KEY'] ?? '');
});
afterAll(async () => {
  await proxy.stop();
  await stack.stop();
});

interface Saved {
  id: string;
  cid: string;
  doc: ReflectionDocument;
}

async function save(visibility: 'private' | 'public', contextId = stack.newContextId(), userId = 'u'): Promise<Saved> {
  const input = { contextId, userId, reflectionText: `${visibility}: slower next time`, visibility };
  const { id, cid } = await stack.memory.saveReflection(input, { wait: true });
  return { id, cid: cid ?? '', doc: fromBytes(await ipfs.fetch(cid ?? '', 1_000_000)) };
}

async function updateRow(table: 'memories' | 'memory_reflections', id: string, row: object): Promise<void> {
  const { data, error } = await stack.supabase.from(table).update(row).eq('id', id).select('id');
  expect([error, data?.length]).toEqual([null, 1]);
}

/** Another document in a reflection's place, with both rows made to agree with it; gives its CID. */
async function forge(id: string, doc: ReflectionDocument): Promise<string> {
  const bytes = toBytes(doc);
  const cid = await computeCid(bytes);
  await ipfs.pin(bytes, cid);
  const { sha256, signature, signingKey: signing_key, signingKeyId: signing_kid } = doc;
  await updateRow('memory_reflections', id, { cid, sha256, signature, signing_key, signing_kid });
  await updateRow('memories', id, { cid });
  return cid;
}

function signedBy(by: Signer, doc: ReflectionDocument, change: Partial<ReflectionDocument> = {}): ReflectionDocument {
  const { signature: _old, ...body } = { ...doc, signingKey: by.publicKey, signingKeyId: by.kid, ...change };
  return { ...body, signature: by.sign(canonicalize(body) ?? '') };
}

/** Through the proxy, which answers instead of the node. */
async function verifyThroughProxy(cid: string, body: object): Promise<Verification> {
  proxy.fault = ({ url }) => (url.startsWith('/api/v0/cat') ? { status: 200, body } : null);
  return verifyWith(cid, { IPFS_API_URL: proxy.url });
}

async function verifyWith(cid: string, keys: Record<string, string>, environment = stack.environment) {
  const memory = new MemoryCore({ ...environment, ...keys });
  try {
    return await memory.verify(cid);
  } finally {
    await memory.close();
  }
}

const failing = ({ checks }: Verification) => checks.filter(({ ok }) => !ok).map(({ name }) => name);
const detailOf = ({ checks }: Verification, name: string) => checks.find((check) => check.name === name)?.detail;

/** Breaks one link and gives the CID to verify, or what verifying said. */
const BREAKS: [link: string, how: string, act: (saved: Saved) => Promise<string | Verification>, said: RegExp][] = [
  ['fetched', 'no node has it', async ({ id }) => computeCid(Buffer.from(id)), /fetching bafkrei/],
  [
    'cid',
    'the node answers other bytes',
    async ({ cid, doc }) => verifyThroughProxy(cid, Object.fromEntries(Object.entries(doc).toReversed())),
    /the bytes have CID bafkrei/,
  ],
  [
    'signature',
    'the signature is of another document',
    async ({ id, doc }) => forge(id, { ...doc, signature: signer.sign('something else') }),
    /Ed25519/,
  ],
  [
    'signature',
    'the key id names another key',
    async ({ id, doc }) => forge(id, signedBy(signer, doc, { signingKeyId: '0'.repeat(16) })),
    /Ed25519, key 0000/,
  ],
  [
    'key',
    'somebody else has signed it',
    async ({ id, doc }) => forge(id, signedBy(signerOf(newSeed()), doc)),
    /key [0-9a-f]{16} is not one of ours/,
  ],
  [
    'row',
    'the row was altered',
    async ({ id, cid }) => {
      await updateRow('memory_reflections', id, { sha256: '0'.repeat(64), source_ids: [id] });
      return cid;
    },
    /differs in sha256, sources/,
  ],
  [
    'row',
    'there is no row',
    async ({ id, cid }) => {
      await stack.supabase.from('memory_reflections').delete().eq('id', id);
      return cid;
    },
    /no row with this CID/,
  ],
  [
    'digest',
    'the digest is of another text',
    async ({ id, doc }) => forge(id, signedBy(signer, doc, { sha256: '0'.repeat(64) })),
    /another digest/,
  ],
  [
    'record',
    'the record names another CID',
    async ({ id, cid }) => {
      await updateRow('memories', id, { cid: null });
      return cid;
    },
    /differs in cid/,
  ],
  [
    'tokens',
    'the tokens are of another text',
    async ({ id, cid }) => {
      await updateRow('memories', id, { tokens: { encoding: 'cl100k_base', text: [15339] } });
      return cid;
    },
    /another text/,
  ],
];

describe.each(['private', 'public'] as const)('a %s reflection', (visibility) => {
  test('that is as it was saved verifies, link by link', async () => {
    const { checks } = await stack.memory.verify((await save(visibility)).cid);
    expect(checks.map(({ name, ok }) => [name, ok])).toEqual(NAMES.map((name) => [name, true]));
  });

  test.each(BREAKS)('fails at the link "%s" alone where %s', async (link, _how, act, said) => {
    const broken = await act(await save(visibility));
    const verification = typeof broken === 'string' ? await stack.memory.verify(broken) : broken;
    expect([verification.ok, failing(verification)]).toEqual([false, [link]]);
    expect(detailOf(verification, link)).toMatch(said);
  });

  test('whose CID leads to something else fails there, and what depends on it is not claimed', async () => {
    const verification = await verifyThroughProxy((await save(visibility)).cid, { hello: 'world' });
    expect(verification.checks.map(({ name, ok }) => [name, ok])).toEqual([
      ['fetched', true],
      ['cid', false],
      ['document', false],
    ]);
  });
});

describe('after another key has begun to sign', () => {
  test('what the old one signed verifies as ours while its public key is trusted, and not without', async () => {
    const { cid } = await save('private');
    const next = { MEMORY_SIGNING_KEY: newSeed() };
    const unknown = await verifyWith(cid, next);
    expect(failing(unknown)).toEqual(['key']);
    expect(detailOf(unknown, 'key')).toBe(
      `key ${signer.kid} is not one of ours: neither MEMORY_SIGNING_KEY nor MEMORY_RETIRED_SIGNING_KEYS has it`,
    );
    const trusted = await verifyWith(cid, { ...next, MEMORY_RETIRED_SIGNING_KEYS: signer.publicKey });
    expect([trusted.ok, detailOf(trusted, 'key')]).toEqual([true, `key ${signer.kid} is ours`]);
    const readers = await verifyWith(cid, { MEMORY_SIGNING_KEY: '', MEMORY_RETIRED_SIGNING_KEYS: signer.publicKey });
    expect(readers.ok).toBe(true);
  });

  test('where no key is known, that nothing was compared is said', async () => {
    const { cid } = await save('public');
    expect(detailOf(await verifyWith(cid, { MEMORY_SIGNING_KEY: '' }), 'key')).toMatch(/^not compared: neither/);
  });

  test.each([
    ['before it was pinned', 'POST', '/api/v0/add'],
    ['after it was pinned', 'PATCH', '/memories'],
  ])('a reflection on its way, stopped %s, keeps document, signature and CID', async (_when, method, path) => {
    const own = await startStack({ supabase: 'postgrest' });
    const node = await startFaultProxy(own.ipfs.url);
    own.environment['IPFS_API_URL'] = node.url;
    let stopped = true;
    own.proxy.fault = ({ method: called, url }) =>
      stopped && called === method && url.includes(path) ? { status: 503 } : null;
    node.fault = ({ url }) => (stopped && url.startsWith(path) ? 'reset' : null);
    try {
      for (const visibility of ['private', 'public'] as const) {
        stopped = true;
        const [worker] = await own.startWorkers('reflection');
        const contextId = own.newContextId();
        const { id } = await own.memory.saveReflection({ contextId, reflectionText: 'on its way', visibility });
        const requests = path.startsWith('/api') ? node.requests : own.proxy.requests;
        const asked = requests.length;
        await eventually(() => requests.slice(asked).some(({ url }) => url.includes(path)));
        await worker?.stop();
        const [planned] = (await own.memory.getReflections(contextId)).items;
        const old = signerOf(own.environment['MEMORY_SIGNING_KEY'] ?? '');
        own.environment['MEMORY_SIGNING_KEY'] = newSeed();
        stopped = false;
        const [next] = await own.startWorkers('reflection');
        await eventually(async () => (await own.memory.getStatus(id)).status === 'pinned');
        await next?.stop();
        const [pinned] = (await own.memory.getReflections(contextId)).items;
        expect(pinned).toEqual({ ...planned, pinnedAt: expect.any(String) });
        const keys = { MEMORY_RETIRED_SIGNING_KEYS: old.publicKey };
        const verification = await verifyWith(planned?.cid ?? '', keys, own.environment);
        expect([verification.ok, detailOf(verification, 'key')]).toEqual([true, `key ${old.kid} is ours`]);
      }
    } finally {
      await own.stop();
      await node.stop();
    }
  });

  test('a row on its way whose signature was altered is not pinned, and its job says why', async () => {
    const own = await startStack({ supabase: 'postgrest' });
    const node = await startFaultProxy(own.ipfs.url);
    own.environment['IPFS_API_URL'] = node.url;
    node.fault = () => 'reset';
    try {
      await own.startWorkers('reflection');
      const contextId = own.newContextId();
      const { id } = await own.memory.saveReflection({ contextId, reflectionText: 'on its way' });
      await eventually(() => node.requests.length > 0);
      await own.supabase
        .from('memory_reflections')
        .update({ signature: signer.sign('x') })
        .eq('id', id);
      node.fault = () => null;
      await eventually(async () => (await own.memory.getStatus(id)).reason !== 'not pinned yet');
      expect((await own.memory.getStatus(id)).reason).toMatch(/altered: the signature there does not hold/);
      expect((await own.memory.getReflections(contextId)).items[0]?.pinnedAt).toBeNull();
    } finally {
      await own.stop();
      await node.stop();
    }
  });
});

describe('verifying all', () => {
  let contextId: string;
  let saved: Saved[];
  beforeAll(async () => {
    contextId = stack.newContextId();
    saved = [];
    for (let n = 0; n < 9; n++) saved.push(await save(n % 2 ? 'public' : 'private', contextId, `user-${n % 3}`));
    saved.sort((a, b) => (a.id < b.id ? -1 : 1));
  });

  test('follows each once, in the order of their ids', async () => {
    const all = await Array.fromAsync(stack.memory.verifyAll({ contextId }));
    expect(all.map(({ id, cid, ok, pinned, total }) => ({ id, cid, ok, pinned, total }))).toEqual(
      saved.map(({ id, cid }) => ({ id, cid, ok: true, pinned: true, total: 9 })),
    );
    expect(await Array.fromAsync(stack.memory.verifyAll({ contextId, userId: 'user-1' }))).toHaveLength(3);
  });

  test('as a command lists those that fail with the link, tells those that are not pinned, and ends with 1', async () => {
    const command = async (...more: string[]) =>
      runCommand(['verify', '--all', '--context', contextId, ...more], { environment: stack.environment });
    const fine = await command('--json');
    expect([fine.code, fine.stderr, JSON.parse(fine.stdout)]).toEqual([
      0,
      '',
      { checked: 9, failed: 0, unpinned: 0, failures: [] },
    ]);
    const [first, second, third] = saved as [Saved, Saved, Saved];
    await updateRow('memories', first.id, { tokens: { encoding: 'cl100k_base', text: [15339] } });
    await forge(second.id, signedBy(signerOf(newSeed()), second.doc));
    await updateRow('memory_reflections', third.id, { pinned_at: null });
    const broken = await command('--json');
    expect([broken.code, JSON.parse(broken.stdout)]).toMatchObject([
      1,
      {
        checked: 8,
        failed: 2,
        unpinned: 1,
        failures: [
          { id: first.id, reason: expect.stringContaining('tokens: '), checks: [{ name: 'tokens' }] },
          { id: second.id, reason: expect.stringContaining('key: '), checks: [{ name: 'key' }] },
        ],
      },
    ]);
    const told = await command();
    expect([told.code, told.stderr]).toEqual([1, `${'verifying'.padEnd(22)} 9/9\n`]);
    expect(told.stdout).toMatch(
      /^\S+ bafkrei\S+\n✗ tokens .*\n\S+ bafkrei\S+\n✗ key .* is not one of ours.*\n✗ 8 reflections/,
    );
    expect(told.stdout).toMatch(/8 reflections checked, 2 failed; 1 not pinned yet\n$/);
  });

  test.each([[['verify']], [['verify', '--all', 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku']]])(
    '%j is told to give one of the two',
    async (args) => {
      const ended = await runCommand(args, { environment: stack.environment });
      expect([ended.code, ended.stderr]).toEqual([2, 'error: expected a CID or --all\n']);
    },
  );
});
