import { createHash, createHmac, createPublicKey, randomBytes, verify } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { CID } from 'multiformats/cid';
import { computeCid } from '../../shared/pinning/ipfs.ts';
import type { ReflectionJob } from '../../shared/records/jobs.ts';
import {
  createReflectionDocument,
  digestOf,
  fromBytes,
  newReflectionKey,
  type ReflectionDocument,
  signatureHolds,
  textOf,
  toBytes,
} from '../../shared/pinning/reflection-document.ts';
import { Signer } from '../../shared/secrets/signing.ts';

const signer = new Signer(randomBytes(32));
const key = newReflectionKey();
const TEXT = '使用者喜歡慢節奏的行程 👩‍👩‍👧, and dislikes early starts; remembers "everything".';
const JOB: ReflectionJob = {
  id: '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a',
  contextId: 'trip "台東"',
  userId: 'user-1',
  reflectionText: TEXT,
  visibility: 'private',
  sourceIds: ['0199fc2a-7c1e-7b6a-9c8d-000000000001'],
  createdAt: '2025-10-19T15:42:10.000Z',
};
const privateDoc = createReflectionDocument(JOB, key, signer);
const publicDoc = createReflectionDocument({ ...JOB, visibility: 'public' }, null, signer);
const asText = (doc: ReflectionDocument) => Buffer.from(toBytes(doc)).toString();
const DOCUMENTS: ['private' | 'public', ReflectionDocument][] = [
  ['private', privateDoc],
  ['public', publicDoc],
];

describe.each(DOCUMENTS)('a %s document', (visibility, doc) => {
  test('is JSON without spaces whose keys are in canonical order', () => {
    const parsed = JSON.parse(asText(doc));
    expect(Object.keys(parsed)).toEqual([
      ...(visibility === 'private' ? ['ciphertext'] : []),
      'contextId',
      'createdAt',
      'id',
      'sha256',
      'signature',
      'signingKey',
      'signingKeyId',
      'sourceIds',
      ...(visibility === 'public' ? ['text'] : []),
      'type',
      'version',
    ]);
    expect(asText(doc)).toBe(JSON.stringify(parsed));
  });

  test('has the same bytes and CID when it is made again, by another process with the same keys', async () => {
    const again = createReflectionDocument(
      Object.fromEntries(Object.entries(JOB).toReversed()) as ReflectionJob,
      visibility === 'private' ? Buffer.from(key) : null,
      signer,
    );
    expect(asText(again)).toBe(asText(doc));
    expect(await computeCid(toBytes(again))).toBe(await computeCid(toBytes(doc)));
  });

  test('comes back from its bytes', () => {
    expect(fromBytes(toBytes(doc))).toEqual(doc);
  });

  test('names the one before it where there is one, and is otherwise what it was before documents did', () => {
    const make = (previousCid: string | null) =>
      createReflectionDocument({ ...JOB, visibility, previousCid }, visibility === 'private' ? key : null, signer);
    expect(asText(make(null))).toBe(asText(doc));
    const linked = make('bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy');
    expect(fromBytes(toBytes(linked))).toEqual(linked);
    expect(linked.previousCid).toMatch(/^bafkrei/);
    const { previousCid: _removed, ...without } = linked;
    expect([signatureHolds(linked), signatureHolds(without)]).toEqual([true, false]);
  });

  test('is signed over everything else in it, with Ed25519', () => {
    const { signature, ...body } = JSON.parse(asText(doc));
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: doc.signingKey }, format: 'jwk' });
    // Keys are sorted already, so plain JSON.stringify gives the signed form.
    expect(verify(null, Buffer.from(JSON.stringify(body)), publicKey, Buffer.from(signature, 'base64url'))).toBe(true);
    expect(signatureHolds(doc)).toBe(true);
  });

  test('has a signature that breaks when any field is altered, removed or added', () => {
    const altered = Object.entries(doc).flatMap(([field, value]) => {
      const other =
        typeof value === 'number' ? value + 1 : typeof value === 'string' ? nextTo(value) : [...(value ?? []), JOB.id];
      const { [field as keyof ReflectionDocument]: _removed, ...rest } = doc;
      return [
        { ...doc, [field]: other },
        { signature: '', ...rest },
      ];
    });
    expect(altered).toHaveLength(2 * 11);
    for (const each of [...altered, { ...doc, more: 1 }]) {
      expect(signatureHolds({ signingKey: '', ...each } as ReflectionDocument)).toBe(false);
    }
  });

  test("has a signature that does not hold for another signer's key", () => {
    const other = new Signer(randomBytes(32));
    const claimed = { ...doc, signingKey: other.publicKey, signingKeyId: other.kid };
    expect(signatureHolds(claimed)).toBe(false);
  });
});

/** The same text with its last character exchanged for its neighbour. */
function nextTo(value: string): string {
  return value.slice(0, -1) + String.fromCharCode(value.charCodeAt(value.length - 1) ^ 1);
}

describe('a private document', () => {
  test('shows the text to nobody: not plain, not escaped, not in base64 or hex, not by its SHA-256', () => {
    const file = asText(privateDoc);
    const bytes = Buffer.from(TEXT);
    const sha256 = createHash('sha256').update(TEXT).digest();
    const windows = Array.from({ length: bytes.length - 9 }, (_, at) => bytes.subarray(at, at + 9));
    const traces = [
      ...Array.from({ length: TEXT.length - 3 }, (_, at) => TEXT.slice(at, at + 4)),
      // Nine bytes are twelve characters of base64 whatever stands before them.
      ...windows.map((window) => window.toString('base64')),
      ...windows.map((window) => window.toString('base64url')),
      ...windows.map((window) => window.toString('hex')),
      ...['hex', 'base64', 'base64url'].map((encoding) => sha256.toString(encoding as BufferEncoding)),
      key.toString('base64'),
      key.toString('base64url'),
      key.toString('hex'),
    ];
    expect(traces.filter((trace) => file.includes(trace))).toEqual([]);
    expect(privateDoc.text).toBeUndefined();
  });

  test('has the HMAC-SHA-256 of the text under its own key as digest', () => {
    expect(privateDoc.sha256).toBe(createHmac('sha256', key).update(TEXT, 'utf8').digest('hex'));
    expect(digestOf(TEXT, key)).toBe(privateDoc.sha256);
  });

  test('opens with its key and with no other', () => {
    expect(textOf(privateDoc, key)).toBe(TEXT);
    expect(textOf(privateDoc, null)).toBeNull();
    const damaged = expect.objectContaining({ code: 'sealed_data_damaged' });
    expect(() => textOf(privateDoc, newReflectionKey())).toThrow(damaged);
    expect(() => textOf({ ...privateDoc, id: JOB.sourceIds?.[0] ?? '' }, key)).toThrow(damaged);
  });

  test('of another key shares neither ciphertext nor digest', () => {
    const other = createReflectionDocument(JOB, newReflectionKey(), signer);
    expect(other.ciphertext?.split('.')[2]).not.toBe(privateDoc.ciphertext?.split('.')[2]);
    expect(other.ciphertext?.split('.')[3]).not.toBe(privateDoc.ciphertext?.split('.')[3]);
    expect(other.sha256).not.toBe(privateDoc.sha256);
  });
});

describe('a public document', () => {
  test('carries its text, and the plain SHA-256 of it', () => {
    expect(textOf(publicDoc, null)).toBe(TEXT);
    expect(publicDoc.ciphertext).toBeUndefined();
    expect(publicDoc.sha256).toBe(createHash('sha256').update(TEXT, 'utf8').digest('hex'));
  });

  test('of a text with a lone surrogate carries U+FFFD, as its tokens do', () => {
    const doc = createReflectionDocument({ ...JOB, reflectionText: 'a\uD83D' }, null, signer);
    expect(textOf(fromBytes(toBytes(doc)), null)).toBe('a\uFFFD');
  });
});

describe('bytes that are no document', () => {
  const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
  test.each<[string, Uint8Array, string, string]>([
    ['nothing', Buffer.alloc(0), 'the document on IPFS', 'JSON in UTF-8'],
    ['no JSON', Buffer.from('hello secret world'), 'the document on IPFS', 'JSON in UTF-8'],
    ['cut JSON', Buffer.from(asText(publicDoc).slice(0, -1)), 'the document on IPFS', 'JSON in UTF-8'],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'the document on IPFS', 'JSON in UTF-8'],
    ['null', bytes(null), 'the document on IPFS', 'an object'],
    ['an array', bytes([publicDoc]), 'the document on IPFS', 'an object'],
    ['an unknown version', bytes({ ...publicDoc, version: 2 }), 'version', 'one of 1'],
    ['another type', bytes({ ...publicDoc, type: 'chat' }), 'type', 'one of reflection, finetune, knowledge'],
    ['an id that is no UUID', bytes({ ...publicDoc, id: '1' }), 'id', 'a UUID'],
    ['a digest in capitals', bytes({ ...publicDoc, sha256: 'A'.repeat(64) }), 'sha256', '64 hex digits'],
    ['no signature', bytes({ ...publicDoc, signature: undefined }), 'signature', 'a string'],
    ['an unknown field', bytes({ ...publicDoc, owner: 'x' }), 'owner', 'no such field'],
    ['neither text', bytes({ ...publicDoc, text: undefined }), 'the document on IPFS', 'either text or ciphertext'],
    ['both texts', bytes({ ...privateDoc, text: TEXT }), 'the document on IPFS', 'either text or ciphertext'],
  ])('%s is refused, saying what is wrong', (_, garbage, field, expected) => {
    expect(() => fromBytes(garbage)).toThrow(
      expect.objectContaining({
        code: 'invalid_input',
        message: expect.stringMatching(/^the document on IPFS is not valid: (?!.*secret)/),
        problems: [expect.objectContaining({ field, expected })],
      }),
    );
  });
});

describe('a CID', () => {
  test.each([
    ['hello world', 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'],
    ['', 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'],
  ])('of the file %j is the published one, which is its SHA-256 as a raw block', async (content, published) => {
    expect(cidOf(0x55, Buffer.from(content))).toBe(published);
    expect(await computeCid(Buffer.from(content))).toBe(published);
  });

  test('of a file of 262,144 bytes is still one raw block', async () => {
    const file = randomBytes(262_144);
    expect(await computeCid(file)).toBe(cidOf(0x55, file));
  });

  test('of a larger file is a dag-pb node over its chunks', async () => {
    const file = randomBytes(262_144 + 1);
    const chunks = [file.subarray(0, 262_144), file.subarray(262_144)];
    // https://ipld.io/specs/codecs/dag-pb/spec and the UnixFS specification, byte by byte: links, then the UnixFS data.
    const links = chunks.map((chunk) =>
      field(2, Buffer.concat([field(1, cidBytes(0x55, chunk)), field(2, Buffer.alloc(0)), number(3, chunk.length)])),
    );
    const unixfs = Buffer.concat([
      number(1, 2),
      number(3, file.length),
      ...chunks.map(({ length }) => number(4, length)),
    ]);
    const root = Buffer.concat([...links, field(1, unixfs)]);
    const cid = await computeCid(file);
    expect(cid).toBe(cidOf(0x70, root));
    expect(CID.parse(cid).code).toBe(0x70);
  });
});

/** CIDv1 by hand: version, codec, and the multihash of SHA-256 (0x12) with 32 bytes. */
function cidBytes(codec: number, block: Buffer): Buffer {
  return Buffer.concat([Buffer.from([1, codec, 0x12, 32]), createHash('sha256').update(block).digest()]);
}

/** The same in base32 (RFC 4648, lower case, no padding) after the multibase prefix `b`. */
function cidOf(codec: number, block: Buffer): string {
  const bits = [...cidBytes(codec, block)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const groups = bits.match(/.{1,5}/g) ?? [];
  return `b${groups.map((group) => 'abcdefghijklmnopqrstuvwxyz234567'.charAt(Number.parseInt(group.padEnd(5, '0'), 2))).join('')}`;
}

/** A field of bytes and a field with a number, as Protocol Buffers write them. */
function field(tag: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([tag * 8 + 2]), varint(value.length), value]);
}

function number(tag: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([tag * 8]), varint(value)]);
}

function varint(value: number): Buffer {
  return value < 128
    ? Buffer.from([value])
    : Buffer.concat([Buffer.from([(value % 128) + 128]), varint(Math.floor(value / 128))]);
}
