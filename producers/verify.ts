import type { Keyring } from '../shared/encryption.ts';
import { MnemoqError, messageOf } from '../shared/errors.ts';
import { computeCid, type Ipfs } from '../shared/ipfs.ts';
import type { LongTerm, ReflectionRow } from '../shared/long-term.ts';
import type { MemoryRecord } from '../shared/records.ts';
import {
  digestOf,
  DOCUMENT_BYTES,
  fromBytes,
  type ReflectionDocument,
  signatureHolds,
  textOf,
} from '../shared/reflection-document.ts';
import { keyIdOf } from '../shared/signing.ts';
import { decodeTokens, openTokens } from '../shared/tokens.ts';

export interface Check {
  name: 'fetched' | 'cid' | 'document' | 'signature' | 'row' | 'digest' | 'tokens';
  ok: boolean;
  /** What was found, in words. */
  detail: string;
}

export interface Verification {
  cid: string;
  /** True when every check holds. */
  ok: boolean;
  /** In order; after one on which the rest depends has failed, the rest is missing. */
  checks: Check[];
}

export interface VerifyParts {
  ipfs: Pick<Ipfs, 'fetch'>;
  longTerm: Pick<LongTerm, 'find' | 'findReflection'>;
  keyring: Keyring | null;
}

/** Throws `not_found` unless a reflection with this CID is the user's. */
export async function requireOwner(cid: string, userId: string, longTerm: VerifyParts['longTerm']): Promise<void> {
  const row = await longTerm.findReflection({ cid });
  if (row?.user_id !== userId) throw new MnemoqError('not_found', 'no reflection with this CID');
}

/** Follows a reflection from its CID to its row and its tokens, and says of every link whether it holds. */
export async function verifyCid(cid: string, parts: VerifyParts): Promise<Verification> {
  const checks: Check[] = [];
  const check = async <T>(name: Check['name'], test: () => Promise<[boolean, string, T?]>): Promise<T | null> => {
    const [ok, detail, value] = await test().catch((error): [boolean, string] => [false, messageOf(error)]);
    checks.push({ name, ok, detail });
    return ok ? (value ?? null) : null;
  };
  const end = () => ({ cid, ok: checks.every(({ ok }) => ok), checks });

  const bytes = await check('fetched', async () => {
    const found = await parts.ipfs.fetch(cid, DOCUMENT_BYTES);
    return [true, `${found.length} bytes`, found];
  });
  if (!bytes) return end();
  await check('cid', async () => {
    const computed = await computeCid(bytes);
    return [computed === cid, computed === cid ? 'computed from the bytes' : `the bytes have CID ${computed}`];
  });
  const doc = await check('document', async () => {
    const found = fromBytes(bytes);
    return [true, `version ${found.version}, ${found.text === undefined ? 'private' : 'public'}`, found];
  });
  if (!doc) return end();
  await check('signature', async () => {
    const holds = signatureHolds(doc) && keyIdOf(doc.signingKey) === doc.signingKeyId;
    return [holds, `Ed25519, key ${doc.signingKeyId}`];
  });
  const row = await check('row', async () => compareRow(doc, cid, await parts.longTerm.findReflection({ cid })));
  if (!row) return end();
  const text = await check('digest', async () => checkDigest(doc, row, parts.keyring));
  const record = await parts.longTerm.find(doc.id).catch(() => null);
  if (text !== null) await check('tokens', async () => compareTokens(text, record, parts.keyring));
  return end();
}

function compareRow(
  doc: ReflectionDocument,
  cid: string,
  row: ReflectionRow | null,
): [boolean, string, ReflectionRow?] {
  if (!row) return [false, 'memory_reflections has no row with this CID'];
  const pairs: [string, unknown, unknown][] = [
    ['id', row.id, doc.id],
    ['cid', row.cid, cid],
    ['sha256', row.sha256, doc.sha256],
    ['signature', row.signature, doc.signature],
    ['signing key', row.signing_key, doc.signingKey],
    // Imported knowledge is filed where whoever imported it wants it.
    ...(doc.type === 'knowledge' ? [] : [['context', row.context_id, doc.contextId] as [string, string, string]]),
    ['previous CID', row.previous_cid, doc.previousCid ?? null],
  ];
  const differing = pairs.filter(([, a, b]) => a !== b).map(([name]) => name);
  return differing.length === 0
    ? [true, 'agrees with the document', row]
    : [false, `differs in ${differing.join(', ')}`];
}

function checkDigest(doc: ReflectionDocument, row: ReflectionRow, keyring: Keyring | null): [boolean, string, string?] {
  if (row.wrapped_key !== null && !keyring)
    return [false, 'MEMORY_ENCRYPTION_KEYS is needed to open a private reflection'];
  const key = row.wrapped_key === null || !keyring ? null : keyring.open(row.wrapped_key, `key:${row.id}`);
  const text = textOf(doc, key);
  if (text === null) return [false, 'the text cannot be opened'];
  const holds = digestOf(text, key) === doc.sha256;
  return holds ? [true, key ? 'HMAC-SHA-256' : 'SHA-256', text] : [false, 'the text has another digest'];
}

function compareTokens(text: string, record: MemoryRecord | null, keyring: Keyring | null): [boolean, string] {
  if (!record) return [false, 'memories has no row with this id'];
  const decoded = decodeTokens(openTokens(record.tokens, keyring, record.id));
  const same = 'text' in decoded && decoded.text === text;
  return [same, same ? 'decode to the text' : 'decode to another text'];
}
