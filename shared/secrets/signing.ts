import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { KEY_BYTES, keyOf } from './encryption.ts';

/** The DER that stands before a raw Ed25519 key: PKCS#8 before the 32-byte seed, SPKI before the public key (RFC 8410). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** Signs with Ed25519. Signatures are deterministic, so the same document always gets the same signature. */
export class Signer {
  readonly #privateKey: KeyObject;
  /** The raw public key, base64url. */
  readonly publicKey: string;
  /** The key's id: the first 16 hex digits of the SHA-256 of the raw public key. */
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

/**
 * The public keys whose signatures are ours: the one of the key that signs, and those of the keys that signed before it.
 * Null where neither is configured: then nothing here can tell whose a signature is.
 */
export function ownPublicKeys({
  signingKey,
  retiredSigningKeys,
}: {
  signingKey?: Buffer | undefined;
  retiredSigningKeys?: readonly string[] | undefined;
}): ReadonlySet<string> | null {
  const keys = [...(signingKey ? [new Signer(signingKey).publicKey] : []), ...(retiredSigningKeys ?? [])];
  return keys.length === 0 ? null : new Set(keys);
}

/** Stands for a signer whose seed is not here. It gives the one signature that the signer has made. */
export function signerOnce(publicKey: string, signature: string): Pick<Signer, 'kid' | 'publicKey' | 'sign'> {
  return { kid: keyIdOf(publicKey), publicKey, sign: () => signature };
}

/** The id of the key whose public half is given, raw and in base64url. */
export function keyIdOf(publicKey: string): string {
  return createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest('hex').slice(0, 16);
}

/** Whether `signature` is the one of `message` under `publicKey`. False as well for what is no signature or no key. */
export function verifySignature(message: string, signature: string, publicKey: string): boolean {
  const raw = Buffer.from(publicKey, 'base64url');
  const bytes = Buffer.from(signature, 'base64url');
  // Decoding ignores stray bits and characters. Only one spelling is taken, or one document could have several signatures.
  if (raw.length !== KEY_BYTES || bytes.toString('base64url') !== signature) return false;
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });
  return verify(null, Buffer.from(message), key, bytes);
}

/** Public keys in base64url, separated by commas, in the one spelling in which documents and rows carry them; else null. */
export function parsePublicKeys(value: string): string[] | null {
  const keys = value.split(',').map((entry) => keyOf(entry.trim())?.toString('base64url'));
  const known = keys.filter((key) => key !== undefined);
  return known.length === keys.length ? known : null;
}
