/**
 * **shared/secrets/**: what keeps things secret and proves who wrote them: encryption, signatures, API keys. It knows
 * bytes and keys, not records.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { MnemoqError } from '../errors.ts';

/** AES-256 key length, and the IV length NIST SP 800-38D recommends for GCM with random IVs; the tag is 128 bits. */
export const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

export interface EncryptionKey {
  kid: string;
  key: Buffer;
}

/**
 * Seals and opens with AES-256-GCM. A sealed value reads `v1.<kid>.<iv>.<tag+ciphertext>`, the last two base64url.
 * `purpose` is authenticated with it (additional data), so that a value cannot be moved to another record or column.
 */
export class Keyring {
  readonly #keys: ReadonlyMap<string, Buffer>;
  readonly #writer: EncryptionKey;
  /** Whether tokens that are not sealed are to be refused: anybody who can write to a store could have put them there. */
  readonly refusesPlain: boolean;

  /** The first key seals; all of them open. */
  constructor(keys: readonly [EncryptionKey, ...EncryptionKey[]], { refusePlain = false } = {}) {
    this.#writer = keys[0];
    this.#keys = new Map(keys.map(({ kid, key }) => [kid, key]));
    this.refusesPlain = refusePlain;
  }

  /** Names the key that seals. */
  get writerKid(): string {
    return this.#writer.kid;
  }

  seal(plain: Buffer, purpose: string): string {
    return sealWith(this.#writer, plain, purpose);
  }

  /** Throws `key_missing` when the key is gone, `sealed_data_damaged` when the value was altered or belongs elsewhere. */
  open(sealed: string, purpose: string): Buffer {
    const kid = kidOf(sealed);
    const key = this.#keys.get(kid);
    if (!key) {
      throw new MnemoqError(
        'key_missing',
        `${purpose} is sealed with key "${kid}", which MEMORY_ENCRYPTION_KEYS does not hold: put that key after the first one`,
      );
    }
    return openWith({ kid, key }, sealed, purpose);
  }
}

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

/** Whether a value has the form of a sealed one; whether it opens is another matter. */
export function isSealed(value: string): boolean {
  return /^v1(\.[\w-]+){3}$/.test(value);
}

/** Names the key a value is sealed with. */
export function kidOf(sealed: string): string {
  return partsOf(sealed).kid;
}

/** The parts of a sealed value. Only the one spelling `sealWith` gives is taken: decoding base64url ignores what it cannot read. */
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
