import { MnemoqError } from '../errors.ts';
import type { MemoryRecord } from '../records/records.ts';
import type { Stores } from './stores.ts';
import { type RecordText, sealTokens, tokenize } from '../records/tokens.ts';

/** Tokenizes a text and prepares it for being stored: tokens and text cache are sealed as the configuration says. */
export function newRecord(
  head: Pick<MemoryRecord, 'id' | 'contextId' | 'userId' | 'module' | 'createdAt'>,
  text: RecordText,
  { config, keyring }: Pick<Stores, 'config' | 'keyring'>,
): MemoryRecord {
  const needKeyring = () => {
    if (keyring) return keyring;
    throw new MnemoqError(
      'invalid_configuration',
      'MEMORY_ENCRYPTION_KEYS: expected keys to encrypt with, found nothing',
    );
  };
  const tokens = tokenize(text, config.encoding);
  const plain = JSON.stringify(text); // in JSON a NUL is \u0000, which a text column takes
  const textCaches = {
    off: () => null,
    plain: () => plain,
    encrypted: () => needKeyring().seal(Buffer.from(plain), `text:${head.id}`),
  };
  return {
    ...head,
    tokens: config.encryptTokens ? sealTokens(tokens, needKeyring(), head.id) : tokens,
    textCache: textCaches[config.textCache](),
    cid: null,
  };
}
