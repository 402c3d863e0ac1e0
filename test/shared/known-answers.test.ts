import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { newChatJobs, newKnowledgeJob } from '../../producers/saving/new-job.ts';
import { computeCid } from '../../shared/pinning/ipfs.ts';
import type { ReflectionJob } from '../../shared/records/jobs.ts';
import {
  createReflectionDocument,
  digestOf,
  newReflectionKey,
  toBytes,
} from '../../shared/pinning/reflection-document.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import { decode, encode } from '../../shared/records/tokenizer.ts';

/*
 * Published answers, through the functions that Mnemoq itself uses. AES-256-GCM has its own in encryption.test.ts, Ed25519 in
 * signing.test.ts, CIDs of one block and of many in reflection-document.test.ts.
 */

test.each([
  ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  [
    'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ],
  ['a'.repeat(1_000_000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
])('SHA-256 of FIPS 180-4: %p', (text, digest) => {
  expect(digestOf(text, null)).toBe(digest);
});

test.each([
  ['1', '0b'.repeat(20), 'Hi There', 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
  [
    '2',
    Buffer.from('Jefe').toString('hex'),
    'what do ya want for nothing?',
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  ],
  [
    '6',
    'aa'.repeat(131),
    'Test Using Larger Than Block-Size Key - Hash Key First',
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  ],
])('HMAC-SHA-256 of RFC 4231, test case %s', (_case, key, text, digest) => {
  expect(digestOf(text, Buffer.from(key, 'hex'))).toBe(digest);
});

describe('HKDF-SHA-256', () => {
  const hex = (digits: string) => Buffer.from(digits, 'hex');

  /** RFC 5869, sections 2.2 and 2.3, for what fits into one block of output. */
  function hkdf(key: Buffer, salt: Buffer, info: Buffer, length: number): Buffer {
    const extracted = createHmac('sha256', salt.length > 0 ? salt : Buffer.alloc(32))
      .update(key)
      .digest();
    return createHmac('sha256', extracted)
      .update(info)
      .update(Buffer.from([1]))
      .digest()
      .subarray(0, length);
  }

  test.each([
    [
      '1',
      '000102030405060708090a0b0c',
      'f0f1f2f3f4f5f6f7f8f9',
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf',
    ],
    ['3', '', '', '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d'],
  ])('as written down here gives RFC 5869, test case %s', (_case, salt, info, output) => {
    expect(hkdf(hex('0b'.repeat(22)), hex(salt), hex(info), 32).toString('hex')).toBe(output);
  });

  test('gives the IV of every private document from its key', () => {
    for (const key of [Buffer.alloc(32, 0x0b), newReflectionKey()]) {
      const iv = hkdf(key, Buffer.alloc(0), Buffer.from('mnemoq reflection iv'), 12);
      expect(ivOf(key)).toBe(iv.toString('base64url'));
    }
  });
});

const SEED = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
const signer = new Signer(SEED);
const JOB: ReflectionJob = {
  id: '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a',
  contextId: 'trip "台東"',
  userId: 'user-1',
  reflectionText: 'I answered too fast; 下次先問清楚預算。',
  visibility: 'private',
  sourceIds: ['0199fc2a-7c1e-7b6a-9c8d-000000000001'],
  createdAt: '2025-10-19T15:42:10.000Z',
};

function ivOf(key: Buffer): string | undefined {
  return createReflectionDocument(JOB, key, signer).ciphertext?.split('.')[2];
}

describe('JSON canonicalization of RFC 8785', () => {
  const canonical = (value: unknown) => Buffer.from(toBytes(value as never)).toString();

  test('section 3.2.2: numbers, strings and literals', () => {
    const input = String.raw`{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`;
    expect(canonical(JSON.parse(input))).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  test('section 3.2.3: names in the order of their UTF-16 code units', () => {
    const names = { '\u20ac': 5, '\r': 1, '\ufb33': 7, 1: 2, '\ud83d\ude00': 6, '\u0080': 3, '\u00f6': 4 };
    expect(canonical(names)).toBe('{"\\r":1,"1":2,"\u0080":3,"ö":4,"€":5,"😀":6,"\ufb33":7}');
  });
});

test('a Standard Webhooks signature, as the reference implementations have it in their tests', () => {
  const webhook = new Webhook('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
  const signed = webhook.sign('msg_p5jXN8AQM9LWM0D4loKWxJek', new Date(1_614_265_330_000), '{"test": 2432232314}');
  expect(signed).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

describe('ids', () => {
  // python3: uuid.uuid5(namespace, json.dumps([module, user, conversation, key], separators=(",", ":"), ensure_ascii=False))
  test('from an idempotency key are UUIDs of version 5, always the same', () => {
    const turn = { contextId: 'trip "台東"', userId: 'user-1', userMessage: 'a', assistantMessage: 'b' };
    const [chat] = newChatJobs([{ ...turn, idempotencyKey: 'key-1' }]);
    const knowledge = newKnowledgeJob({ contextId: 'c', text: 't', idempotencyKey: 'key-1' });
    expect([chat?.id, knowledge.id]).toEqual([
      '0ae272b9-9cef-56d6-aaa7-c55a30604a79',
      '017ae26c-d9fc-5b50-bd03-30beed60afdb',
    ]);
  });

  test('of new records are UUIDs of version 7: the time in milliseconds, then chance', () => {
    const before = Date.now();
    const turn = { contextId: 'c', userId: 'u', userMessage: 'a', assistantMessage: 'b' };
    const ids = newChatJobs(Array.from({ length: 1000 }, () => turn)).map(({ id }) => id);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const times = ids.map((id) => Number.parseInt(id.replace('-', '').slice(0, 12), 16));
    expect([Math.min(...times) >= before, Math.max(...times) <= Date.now()]).toEqual([true, true]);
    expect([new Set(ids).size, ids.toSorted()]).toEqual([1000, ids]);
  });
});

test.each([
  // https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
  ['hello world', [15339, 1917]],
  ['tiktoken is great!', [83, 1609, 5963, 374, 2294, 0]],
  ['antidisestablishmentarianism', [519, 85342, 34500, 479, 8997, 2191]],
  ['2 + 2 = 4', [17, 489, 220, 17, 284, 220, 19]],
  ['お誕生日おめでとう', [33334, 45918, 243, 21990, 9080, 33334, 62004, 16556, 78699]],
])('cl100k_base tokens of %p', (text, tokens) => {
  expect(encode(text, 'cl100k_base')).toEqual(tokens);
  expect(decode(tokens, 'cl100k_base')).toBe(text);
});

test('one private document from fixed keys: what any release must be able to make again', async () => {
  const bytes = toBytes(createReflectionDocument(JOB, Buffer.alloc(32, 7), signer));
  expect(await computeCid(bytes)).toBe('bafkreicrirz44v3msjagoypj2ok6ezyxuhx6zvfvfo5f2636znpl6gevxu');
});

describe('no IV comes twice', () => {
  const PROCESSES = 4;
  const SEALS = 50_000;
  const KEYRING = path.join(import.meta.dirname, '../../shared/secrets/keyring.ts');
  const SCRIPT = `
    const { Keyring } = await import(${JSON.stringify(KEYRING)});
    const keyring = new Keyring([{ kid: 'k', key: Buffer.alloc(32, 7) }]);
    const nothing = Buffer.alloc(0);
    const ivs = [];
    for (let n = 0; n < ${SEALS}; n++) ivs.push(keyring.seal(nothing, '').slice(5, 21));
    process.stdout.write(ivs.join(''));
  `;

  test(`among ${PROCESSES * SEALS} seals with one key by ${PROCESSES} processes`, async () => {
    const run = async () =>
      promisify(execFile)(process.execPath, ['--input-type=module', '-e', SCRIPT], { maxBuffer: 2 ** 26 });
    const seen = new Set<string>();
    for (const { stdout } of await Promise.all(Array.from({ length: PROCESSES }, run))) {
      for (let from = 0; from < stdout.length; from += 16) seen.add(stdout.slice(from, from + 16));
    }
    expect(seen.size).toBe(PROCESSES * SEALS);
  });

  test('among 2000 documents, each with a key of its own', () => {
    const ivs = Array.from({ length: 2_000 }, () => ivOf(newReflectionKey()));
    expect(new Set(ivs).size).toBe(2_000);
  });
});
