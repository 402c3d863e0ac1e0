import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { type EncryptionKey, openWith, sealWith } from '../../shared/secrets/encryption.ts';
import { Keyring } from '../../shared/secrets/keyring.ts';

const hex = (digits: string) => Buffer.from(digits, 'hex');
const newKey = (kid: string): EncryptionKey => ({ kid, key: randomBytes(32) });
const oldKey = newKey('2024');
const key = newKey('2025');
const keyring = new Keyring([key, oldKey]);

/** Published results, in hex. Purposes are text here, so only vectors whose additional data is text can be used. */
const VECTORS = [
  {
    source: 'McGrew and Viega, The Galois/Counter Mode of Operation (submission to NIST), test case 14',
    key: '00'.repeat(32),
    iv: '00'.repeat(12),
    purpose: '',
    plain: '00'.repeat(16),
    ciphertext: 'cea7403d4d606b6e074ec5d3baf39d18',
    tag: 'd0d1c8a799996bf0265b98b5d48ab919',
  },
  {
    source: 'McGrew and Viega, test case 15',
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
    iv: 'cafebabefacedbaddecaf888',
    purpose: '',
    plain:
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72' +
      '1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255',
    ciphertext:
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa' +
      '8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad',
    tag: 'b094dac5d93471bdec1a502270e3cc6c',
  },
  {
    source: 'RFC 7516, appendix A.1 (A256GCM, with additional data)',
    key: 'b1a1f480548fe1733fb403ff6b9ad4f68a076e5b702e22692f82cb2e7aea40fc',
    iv: 'e3c575fc02dbe944b4e14ddb',
    purpose: 'eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ',
    plain: Buffer.from('The true sign of intelligence is not knowledge but imagination.').toString('hex'),
    ciphertext: Buffer.from(
      '5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A',
      'base64url',
    ).toString('hex'),
    tag: Buffer.from('XFBoMYUZodetZdvTiFvSkQ', 'base64url').toString('hex'),
  },
];

describe.each(VECTORS)('the published vector $source', (vector) => {
  const vectorKey = { kid: 'k', key: hex(vector.key) };
  const sealed = [
    'v1',
    'k',
    hex(vector.iv).toString('base64url'),
    hex(vector.tag + vector.ciphertext).toString('base64url'),
  ].join('.');

  test('is what sealing gives', () => {
    expect(sealWith(vectorKey, hex(vector.plain), vector.purpose, hex(vector.iv))).toBe(sealed);
  });

  test('opens', () => {
    expect(openWith(vectorKey, sealed, vector.purpose).toString('hex')).toBe(vector.plain);
    expect(new Keyring([vectorKey]).open(sealed, vector.purpose).toString('hex')).toBe(vector.plain);
  });
});

describe('a keyring', () => {
  test.each([0, 1, 16, 1_000_000])('gives back %d bytes', (size) => {
    const plain = randomBytes(size);
    expect(keyring.open(keyring.seal(plain, 'a'), 'a').equals(plain)).toBe(true);
  });

  test('seals as v1.<kid>.<iv of 12 bytes>.<tag of 16 bytes and as much as the plain data>', () => {
    const [version, kid, iv = '', body = '', ...rest] = keyring.seal(Buffer.alloc(5), 'a').split('.');
    expect([version, kid, rest]).toEqual(['v1', key.kid, []]);
    expect([iv, body].join('')).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(Buffer.from(iv, 'base64url')).toHaveLength(12);
    expect(Buffer.from(body, 'base64url')).toHaveLength(16 + 5);
  });

  test('writes with its first key and opens with all of them', () => {
    const before = new Keyring([oldKey]).seal(Buffer.from('old'), 'a');
    const after = keyring.seal(Buffer.from('new'), 'a');
    expect([before.split('.')[1], after.split('.')[1]]).toEqual([oldKey.kid, key.kid]);
    for (const ring of [keyring, new Keyring([oldKey, key])]) {
      expect(ring.open(before, 'a').toString()).toBe('old');
      expect(ring.open(after, 'a').toString()).toBe('new');
    }
  });

  test('names the key it misses', () => {
    const sealed = new Keyring([newKey('gone-2023')]).seal(Buffer.from('x'), 'a');
    expect(() => keyring.open(sealed, 'a')).toThrow(
      expect.objectContaining({ code: 'key_missing', message: expect.stringContaining('"gone-2023"') }),
    );
  });

  test('never takes an IV twice', () => {
    const ivs = Array.from({ length: 10_000 }, () => keyring.seal(Buffer.alloc(1), 'a').split('.')[2]);
    expect(new Set(ivs).size).toBe(ivs.length);
  });
});

const damaged = expect.objectContaining({ code: 'sealed_data_damaged' });

describe('sealed data that was tampered with', () => {
  const sealed = keyring.seal(Buffer.from('a secret of some length'), 'tokens:1');
  const [, kid = '', iv = '', body = ''] = sealed.split('.');

  test.each(['iv', 'body'] as const)('does not open when any bit of the %s differs', (part) => {
    const original = Buffer.from(part === 'iv' ? iv : body, 'base64url');
    for (let bit = 0; bit < original.length * 8; bit++) {
      const bytes = Buffer.from(original);
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      const altered = bytes.toString('base64url');
      const forged = part === 'iv' ? ['v1', kid, altered, body] : ['v1', kid, iv, altered];
      expect(() => keyring.open(forged.join('.'), 'tokens:1')).toThrow(damaged);
    }
  });

  test('does not open when any of its characters differs, is missing or is doubled', () => {
    for (let at = 0; at < sealed.length; at++) {
      const [before, character, after] = [sealed.slice(0, at), sealed.charAt(at), sealed.slice(at + 1)];
      const other = character === 'A' ? 'B' : 'A';
      for (const forged of [before + other + after, before + after, before + character + character + after]) {
        // A key id that nobody has is a missing key, everything else is damage.
        const code =
          /^v1\.[^.]+\.[^.]+\.[^.]+$/.test(forged) && !forged.includes(`.${kid}.`)
            ? 'key_missing'
            : 'sealed_data_damaged';
        expect(() => keyring.open(forged, 'tokens:1')).toThrow(expect.objectContaining({ code }));
      }
    }
  });

  test.each([
    ['moved to another purpose', sealed, 'tokens:2'],
    ['renamed to another key that exists', sealed.replace(`.${key.kid}.`, `.${oldKey.kid}.`), 'tokens:1'],
    ['of another version', sealed.replace('v1', 'v2'), 'tokens:1'],
    ['cut off in the tag', ['v1', kid, iv, body.slice(0, 10)].join('.'), 'tokens:1'],
    ['without a body', ['v1', kid, iv, ''].join('.'), 'tokens:1'],
    ['without an IV', ['v1', kid, '', body].join('.'), 'tokens:1'],
    ['with a fifth part', `${sealed}.x`, 'tokens:1'],
    ['with padding', `${sealed}=`, 'tokens:1'],
    ['with a line break', `${sealed}\n`, 'tokens:1'],
    ['that is plain text', 'not sealed at all', 'tokens:1'],
    ['that is empty', '', 'tokens:1'],
  ])('does not open when %s', (_, forged, purpose) => {
    expect(() => keyring.open(forged, purpose)).toThrow(damaged);
  });

  test('does not tell its content or a key in the error', () => {
    const said = errorOf(() => keyring.open(sealed.slice(0, -2), 'tokens:1'));
    expect(said).toContain('sealed data cannot be opened');
    const secrets = ['a secret', key.key.toString('hex'), key.key.toString('base64'), body.slice(0, 12)];
    expect(secrets.filter((secret) => said.includes(secret))).toEqual([]);
  });
});

/** Message, stack and cause of what `act` throws. */
function errorOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return inspect(error);
  }
  throw new Error('nothing was thrown');
}
