import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { keyIdOf, Signer, verifySignature } from '../../shared/secrets/signing.ts';

/** RFC 8032, section 7.1; the messages of its other tests are not text. */
const VECTORS = [
  {
    name: 'TEST 1',
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    name: 'TEST 2',
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: 'r', // 72 in hex
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
];

describe.each(VECTORS)('RFC 8032 $name', ({ seed, publicKey, message, signature }) => {
  const signer = new Signer(Buffer.from(seed, 'hex'));

  test('gives the public key of the seed', () => {
    expect(Buffer.from(signer.publicKey, 'base64url').toString('hex')).toBe(publicKey);
  });

  test('gives the signature', () => {
    expect(Buffer.from(signer.sign(message), 'base64url').toString('hex')).toBe(signature);
  });

  test('verifies', () => {
    expect(verifySignature(message, signer.sign(message), signer.publicKey)).toBe(true);
  });
});

describe('a signature', () => {
  const seed = randomBytes(32);
  const signer = new Signer(seed);
  const message = '{"text":"台東 👩‍👩‍👧"}';
  const signature = signer.sign(message);

  test('is always the same for the same seed and message', () => {
    expect(new Signer(Buffer.from(seed)).sign(message)).toBe(signature);
    expect(signer.sign(`${message} `)).not.toBe(signature);
  });

  test('is 64 bytes in base64url', () => {
    expect(signature).toMatch(/^[A-Za-z0-9_-]{86}$/);
  });

  test('fails for every altered byte of it', () => {
    for (let at = 0; at < 64; at++) {
      const bytes = Buffer.from(signature, 'base64url');
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      expect(verifySignature(message, bytes.toString('base64url'), signer.publicKey)).toBe(false);
    }
  });

  test('has one spelling: its last character carries stray bits, which must be as written', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const spellings = alphabet.split('').map((last) => signature.slice(0, -1) + last);
    const good = [...spellings, `${signature}==`, ` ${signature}`].filter((each) =>
      verifySignature(message, each, signer.publicKey),
    );
    expect(good).toEqual([signature]);
  });

  test.each([
    ['an altered message', `${message}.`, signature, signer.publicKey],
    ['an empty message', '', signature, signer.publicKey],
    ['an empty signature', message, '', signer.publicKey],
    ['garbage for a signature', message, '***', signer.publicKey],
    ["another signer's key", message, signature, new Signer(randomBytes(32)).publicKey],
    ['no key', message, signature, ''],
    ['a key that is too short', message, signature, signer.publicKey.slice(0, -4)],
    ['a key that is no point of the curve', message, signature, Buffer.alloc(32, 0xff).toString('base64url')],
    ['an X25519 key', message, signature, x25519PublicKey()],
  ])('does not hold for %s', (_, signed, by, publicKey) => {
    expect(verifySignature(signed, by, publicKey)).toBe(false);
  });
});

test.each([
  // printf <public key> | xxd -r -p | sha256sum | cut -c1-16
  [0, '21fe31dfa154a261'],
  [1, '39f713d0a644253f'],
])('a key id is the beginning of the SHA-256 of the raw public key (vector %d)', (index, kid) => {
  const vector = VECTORS[index];
  const signer = new Signer(Buffer.from(vector?.seed ?? '', 'hex'));
  expect(signer.kid).toBe(kid);
  expect(keyIdOf(signer.publicKey)).toBe(kid);
});

function x25519PublicKey(): string {
  const { publicKey } = generateKeyPairSync('x25519');
  return publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64url');
}
