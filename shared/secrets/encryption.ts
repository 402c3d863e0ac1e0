/**
 * **shared/secrets/**: what keeps data secret and what proves who wrote it: encryption, signatures, API keys. It knows
 * bytes and keys, and no records.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { MnemoqError } from '../errors.ts';

/** The length of an AES-256 key, and of an Ed25519 seed or public key. */
export const KEY_BYTES = 32;
/** NIST SP 800-38D recommends this length for GCM with random IVs. */
const IV_BYTES = 12;
/** 128 bits, the longest tag that GCM has. */
const TAG_BYTES = 16;

export interface EncryptionKey {
  /** Names the key wherever something is sealed with it. */
  kid: string;
  key: Buffer;
}

/**
 * Seals with AES-256-GCM. A sealed value reads `v1.<kid>.<iv>.<tag+ciphertext>`, the last two base64url. `purpose` is
 * authenticated with it (additional data), so that a value cannot be moved to another record or column.
 */
export function sealWith(
  { kid, key }: EncryptionKey,
  plain: Buffer,
  purpose: string,
  iv: Buffer = randomBytes(IV_BYTES),
): string {
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(purpose));
  const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()]);
  const body = Buffer.concat([cipher.getAuthTag(), ciphertext]);
  return `v1.${kid}.${iv.toString('base64url')}.${body.toString('base64url')}`;
}

/** Throws `sealed_data_damaged` when the key or the purpose is another one, or when the value was altered. */
export function openWith({ kid, key }: EncryptionKey, sealed: string, purpose: string): Buffer {
  const { kid: sealedKid, iv, body } = partsOf(sealed);
  if (sealedKid !== kid) throw damaged(`sealed with key "${sealedKid}", not "${kid}"`);
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(purpose));
    decipher.setAuthTag(body.subarray(0, TAG_BYTES));
    return Buffer.concat([decipher.update(body.subarray(TAG_BYTES)), decipher.final()]);
  } catch (error) {
    throw damaged('authentication failed: wrong key, altered bytes, or moved from another record', error);
  }
}

/** Whether a value has the form of a sealed one. This does not say that it opens. */
export function isSealed(value: string): boolean {
  return /^v1(\.[\w-]+){3}$/.test(value);
}

/** The id of the key that a value is sealed with. */
export function kidOf(sealed: string): string {
  return partsOf(sealed).kid;
}

/**
 * The parts of a sealed value. Only the one spelling that `sealWith` gives is taken, because decoding base64url ignores what
 * it cannot read.
 */
function partsOf(sealed: string): { kid: string; iv: Buffer; body: Buffer } {
  const [version, kid, ...encoded] = sealed.split('.');
  const [iv, body, ...rest] = encoded.map((part) => Buffer.from(part, 'base64url'));
  const wellFormed = version === 'v1' && kid && iv?.length === IV_BYTES && body && body.length >= TAG_BYTES;
  const spelledAlike = encoded.join('.') === `${iv?.toString('base64url')}.${body?.toString('base64url')}`;
  if (!wellFormed || rest.length > 0 || !spelledAlike) throw damaged('not of the form v1.<kid>.<iv>.<tag+ciphertext>');
  return { kid, iv, body };
}

function damaged(reason: string, cause?: unknown): MnemoqError {
  return new MnemoqError('sealed_data_damaged', `sealed data cannot be opened: ${reason}`, { cause });
}

/** The key that base64 or base64url stands for; null where it is none of 32 bytes. */
export function keyOf(base64: string): Buffer | null {
  const bytes = Buffer.from(base64, 'base64');
  return /^[A-Za-z0-9+/_-]+=*$/.test(base64) && bytes.length === KEY_BYTES ? bytes : null;
}
