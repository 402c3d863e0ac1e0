import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** DER wrappers of raw Ed25519 keys: PKCS#8 around the 32-byte seed, SPKI around the 32-byte public key (RFC 8410). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** Signs with Ed25519; signatures are deterministic, so the same document always gets the same one. */
export class Signer {
  readonly #privateKey: KeyObject;
  /** The raw public key, base64url. */
  readonly publicKey: string;
  /** Names the key: the first 16 hex digits of the SHA-256 of the raw public key. */
  readonly kid: string;

  /** From the 32-byte seed of RFC 8032. */
  constructor(seed: Buffer) {
    this.#privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' });
    const raw = spki.subarray(SPKI_PREFIX.length);
    this.publicKey = raw.toString('base64url');
    this.kid = keyIdOf(this.publicKey);
  }

  sign(message: string): string {
    return sign(null, Buffer.from(message), this.#privateKey).toString('base64url');
  }
}

/** The key id that belongs to a raw base64url public key. */
export function keyIdOf(publicKey: string): string {
  return createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest('hex').slice(0, 16);
}

export function verifySignature(message: string, signature: string, publicKey: string): boolean {
  const spki = Buffer.concat([SPKI_PREFIX, Buffer.from(publicKey, 'base64url')]);
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  return verify(null, Buffer.from(message), key, Buffer.from(signature, 'base64url'));
}
