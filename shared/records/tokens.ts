import type { Keyring } from '../secrets/keyring.ts';
import { isSealed, kidOf } from '../secrets/encryption.ts';
import { MnemoqError } from '../errors.ts';
import { decode, encode, type Encoding, ENCODINGS, isToken } from './tokenizer.ts';

/** The token ids of a turn, or of a record with one text. */
type TokenArrays = { user: number[]; assistant: number[] } | { text: number[] };
/** The same shape, with how many tokens each part has. */
type TokenCounts = { user: number; assistant: number } | { text: number };

/** What the column `tokens` holds: the arrays or, with MEMORY_ENCRYPT_TOKENS, their sealed JSON beside the counts. */
export type Tokens = { encoding: Encoding } & (TokenArrays | { sealed: string; counts: TokenCounts });

/** The text of a record. A turn has two parts, everything else has one. */
export type RecordText = { user: string; assistant: string } | { text: string };

export function tokenize(text: RecordText, encoding: Encoding): Tokens {
  return 'text' in text
    ? { encoding, text: encode(text.text, encoding) }
    : { encoding, user: encode(text.user, encoding), assistant: encode(text.assistant, encoding) };
}

/** How many tokens a record has, from what is stored. Nothing is tokenized or opened for it. */
export function countTokens(tokens: Tokens): number {
  if ('sealed' in tokens) return sum(tokens.counts);
  return 'text' in tokens ? tokens.text.length : tokens.user.length + tokens.assistant.length;
}

function sum(counts: TokenCounts): number {
  return 'text' in counts ? counts.text : counts.user + counts.assistant;
}

export function sealTokens(tokens: Tokens, keyring: Keyring, recordId: string): Tokens {
  if ('sealed' in tokens) return tokens;
  const { encoding, ...arrays } = tokens;
  const counts =
    'text' in arrays ? { text: arrays.text.length } : { user: arrays.user.length, assistant: arrays.assistant.length };
  return { encoding, sealed: keyring.seal(Buffer.from(JSON.stringify(arrays)), `tokens:${recordId}`), counts };
}

/**
 * The token arrays, which are opened when they are sealed. Throws `key_missing` when they are sealed and there is no key to
 * open them, and `plain_data_refused` when they are not sealed and must be.
 */
export function openTokens(
  tokens: Tokens,
  keyring: Keyring | null,
  recordId: string,
): { encoding: Encoding } & TokenArrays {
  if (!('sealed' in tokens)) {
    if (keyring?.refusesPlain) throw new MnemoqError('plain_data_refused', plainTokens(recordId));
    return tokens;
  }
  if (!keyring) {
    throw new MnemoqError(
      'key_missing',
      `tokens:${recordId} is sealed with key "${kidOf(tokens.sealed)}": set MEMORY_ENCRYPTION_KEYS to read it`,
    );
  }
  const arrays = JSON.parse(keyring.open(tokens.sealed, `tokens:${recordId}`).toString()) as TokenArrays;
  return { encoding: tokens.encoding, ...arrays };
}

/** Says what is wrong with tokens that are not sealed and must be, and what to do. */
export function plainTokens(recordId: string): string {
  return (
    `tokens:${recordId} is not encrypted although MEMORY_ENCRYPT_TOKENS is true: older than that setting, or put there by ` +
    'somebody else; mnemoq rekey --seal-plain encrypts it, MEMORY_ALLOW_PLAIN_ROWS=true reads it until then (docs/keys.md)'
  );
}

export function decodeTokens(tokens: { encoding: Encoding } & TokenArrays): RecordText {
  return 'text' in tokens
    ? { text: decode(tokens.text, tokens.encoding) }
    : { user: decode(tokens.user, tokens.encoding), assistant: decode(tokens.assistant, tokens.encoding) };
}

/**
 * Whether a value is tokens in the form in which every reader counts, opens and decodes them. The database would take any JSON, and one record
 * without tokens would break every later read of its conversation. Further fields are left for the database to judge.
 */
export function isTokens(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { encoding, sealed, counts, ...arrays } = value as Record<string, unknown>;
  if (!ENCODINGS.includes(encoding as Encoding) || !isJson(value)) return false;
  return sealed === undefined
    ? hasParts(arrays, (ids) => Array.isArray(ids) && ids.every((id) => isToken(id, encoding as Encoding)))
    : typeof sealed === 'string' && isSealed(sealed) && hasParts(counts, isCount);
}

/** Whether there are the two parts of a turn, or the one part of any other record. */
function hasParts(parts: unknown, isPart: (part: unknown) => boolean): boolean {
  if (typeof parts !== 'object' || parts === null) return false;
  const { text, user, assistant } = parts as Record<string, unknown>;
  return isPart(text) || (isPart(user) && isPart(assistant));
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** False for a value with a cycle or a bigint in it, which no job can carry. */
function isJson(value: object): boolean {
  try {
    return Boolean(JSON.stringify(value));
  } catch {
    return false;
  }
}
