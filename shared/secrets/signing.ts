import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** DER wrappers of raw Ed25519 keys: PKCS#8 around the 32-byte seed, SPKI around the 32-byte public key (RFC 8410). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const PUBLIC_KEY_BYTES = 32;

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

/**
 * The public keys whose signatures are ours: of the key that signs, and those that signed before it. Null where neither is
 * configured: then nobody can tell here whose signature one is.
 */
export function ownPublicKeys({
  signingKey,
  trustedKeys,
}: {
  signingKey?: Buffer | undefined;
  trustedKeys?: readonly string[] | undefined;
}): ReadonlySet<string> | null {
  const keys = [...(signingKey ? [new Signer(signingKey).publicKey] : []), ...(trustedKeys ?? [])];
  return keys.length === 0 ? null : new Set(keys);
}

/** Stands for a signer whose seed is not here: gives the one signature it has made. */
export function signerOnce(publicKey: string, signature: string): Pick<Signer, 'kid' | 'publicKey' | 'sign'> {
  return { kid: keyIdOf(publicKey), publicKey, sign: () => signature };
}

/** The key id that belongs to a raw base64url public key. */
export function keyIdOf(publicKey: string): string {
  return createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest('hex').slice(0, 16);
}

/** Whether `signature` is the one of `message` under `publicKey`; false as well for what is no signature or no key. */
export function verifySignature(message: string, signature: string, publicKey: string): boolean {
  const raw = Buffer.from(publicKey, 'base64url');
  const bytes = Buffer.from(signature, 'base64url');
  // Decoding ignores stray bits and characters; only one spelling of a signature is good, else there would be several.
  if (raw.length !== PUBLIC_KEY_BYTES || bytes.toString('base64url') !== signature) return false;
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });
  return verify(null, Buffer.from(message), key, bytes);
}
