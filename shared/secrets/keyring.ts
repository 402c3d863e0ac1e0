import { MnemoqError } from '../errors.ts';
import { type EncryptionKey, keyOf, kidOf, openWith, sealWith } from './encryption.ts';

/** Some keys, of which the first one seals. */
export type EncryptionKeys = readonly [EncryptionKey, ...EncryptionKey[]];

const KEY_ID = /^[A-Za-z0-9_-]{1,32}$/;

/**
 * The keys of MEMORY_ENCRYPTION_KEYS: the first one seals, all of them open, so that a key can be exchanged while what is
 * sealed with the old one is still read.
 */
export class Keyring {
  readonly #keys: ReadonlyMap<string, Buffer>;
  readonly #writer: EncryptionKey;
  /** Whether tokens that are not sealed must be refused: anybody who can write to a store could have put them there. */
  readonly refusesPlain: boolean;

  constructor(keys: EncryptionKeys, { refusePlain = false } = {}) {
    this.#writer = keys[0];
    this.#keys = new Map(keys.map(({ kid, key }) => [kid, key]));
    this.refusesPlain = refusePlain;
  }

  /** The id of the key that seals. */
  get writerKid(): string {
    return this.#writer.kid;
  }

  /** A value that opens only for the same `purpose`, which names the record and the column it belongs to. */
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

/**
 * `kid:base64` entries, separated by commas; null when an entry is something else or two have the same id, for the id alone
 * says which key opens a value.
 */
export function parseEncryptionKeys(value: string): EncryptionKeys | null {
  const keys = value.split(',').map((entry) => {
    const [kid = '', base64 = ''] = entry.trim().split(/:(.*)/s);
    const key = keyOf(base64);
    return key && KEY_ID.test(kid) ? { kid, key } : null;
  });
  const [first, ...rest] = keys.filter((key) => key !== null);
  const distinct = new Set(keys.map((key) => key?.kid)).size === keys.length;
  return first && rest.length + 1 === keys.length && distinct ? [first, ...rest] : null;
}
