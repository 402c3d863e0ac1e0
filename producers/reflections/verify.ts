import { toMoment } from '../../shared/moments.ts';
import type { Keyring } from '../../shared/secrets/keyring.ts';
import { MnemoqError, messageOf } from '../../shared/errors.ts';
import { computeCid, type Ipfs } from '../../shared/pinning/ipfs.ts';
import type { Memories } from '../../shared/long-term/memories.ts';
import type { ReflectionRow, Reflections } from '../../shared/long-term/reflections.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import {
  digestOf,
  DOCUMENT_BYTES,
  fromBytes,
  type ReflectionDocument,
  signatureHolds,
  textOf,
} from '../../shared/pinning/reflection-document.ts';
import { keyIdOf, ownPublicKeys } from '../../shared/secrets/signing.ts';
import { decodeTokens, openTokens } from '../../shared/records/tokens.ts';
import { ipfsNode } from './ipfs-node.ts';
import type { CallParts } from '../parts/call-parts.ts';

export interface Check {
  name: 'fetched' | 'cid' | 'document' | 'signature' | 'key' | 'row' | 'digest' | 'record' | 'tokens';
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
  longTerm: { memories: Pick<Memories, 'find'>; reflections: Pick<Reflections, 'find'> };
  keyring: Keyring | null;
  /** Public keys whose signatures are ours; null where none is known. */
  ownKeys: ReadonlySet<string> | null;
}

/** Throws `invalid_configuration` where there is no IPFS node to ask. */
export function verifyParts({
  config,
  longTerm,
  keyring,
}: Pick<CallParts, 'config' | 'longTerm' | 'keyring'>): VerifyParts {
  return { ipfs: ipfsNode(config), longTerm, keyring, ownKeys: ownPublicKeys(config) };
}

/** Throws `not_found` unless a reflection with this CID is the user's. */
export async function requireOwner(cid: string, userId: string, longTerm: VerifyParts['longTerm']): Promise<void> {
  const row = await longTerm.reflections.find({ cid });
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
  await check('key', async () => checkKey(doc, parts.ownKeys));
  const row = await check('row', async () => compareRow(doc, cid, await parts.longTerm.reflections.find({ cid })));
  if (!row) return end();
  const text = await check('digest', async () => checkDigest(doc, row, parts.keyring));
  const record = await check('record', async () => compareRecord(doc, cid, await parts.longTerm.memories.find(doc.id)));
  if (text !== null && record) await check('tokens', async () => compareTokens(text, record, parts.keyring));
  return end();
}

/**
 * Anybody can sign a document with a key of their own: the signature alone says only that it is unaltered. Knowledge may be
 * somebody else's, imported under its author's signature.
 */
function checkKey(
  { signingKey, signingKeyId, type }: ReflectionDocument,
  ownKeys: VerifyParts['ownKeys'],
): [boolean, string] {
  if (!ownKeys)
    return [true, 'not compared: neither MEMORY_SIGNING_KEY nor MEMORY_RETIRED_SIGNING_KEYS tells here which are ours'];
  if (ownKeys.has(signingKey)) return [true, `key ${signingKeyId} is ours`];
  return type === 'knowledge'
    ? [true, `key ${signingKeyId} is not one of ours: knowledge of another Mnemoq`]
    : [
        false,
        `key ${signingKeyId} is not one of ours: neither MEMORY_SIGNING_KEY nor MEMORY_RETIRED_SIGNING_KEYS has it`,
      ];
}

function compareRow(
  doc: ReflectionDocument,
  cid: string,
  row: ReflectionRow | null,
): [boolean, string, ReflectionRow?] {
  if (!row) return [false, 'memory_reflections has no row with this CID'];
  const pairs: Pair[] = [
    ['id', row.id, doc.id],
    ['cid', row.cid, cid],
    ['sha256', row.sha256, doc.sha256],
    ['signature', row.signature, doc.signature],
    ['signing key', row.signing_key, doc.signingKey],
    ['signing key id', row.signing_kid, doc.signingKeyId],
    ['context', row.context_id, filedUnder(doc, row.context_id)],
    ['previous CID', row.previous_cid, doc.previousCid ?? null],
    ['module', row.module, doc.type],
    ['time', toMoment(row.created_at), doc.createdAt],
    ['sources', row.source_ids.join(), doc.sourceIds.join()],
    ['visibility', row.visibility, doc.text === undefined ? 'private' : 'public'],
  ];
  return agreement(pairs, row);
}

function compareRecord(
  doc: ReflectionDocument,
  cid: string,
  record: MemoryRecord | null,
): [boolean, string, MemoryRecord?] {
  if (!record) return [false, 'memories has no row with this id'];
  const pairs: Pair[] = [
    ['cid', record.cid, cid],
    ['context', record.contextId, filedUnder(doc, record.contextId)],
    ['module', record.module, doc.type],
  ];
  return agreement(pairs, record);
}

/** The conversation a document's rows name: its own, but imported knowledge is filed where whoever imported it wants it. */
function filedUnder({ type, contextId }: ReflectionDocument, found: string): string {
  return type === 'knowledge' ? found : contextId;
}

type Pair = [name: string, ours: unknown, documents: unknown];

function agreement<T>(pairs: readonly Pair[], value: T): [boolean, string, T?] {
  const differing = pairs.filter(([, ours, documents]) => ours !== documents).map(([name]) => name);
  return differing.length === 0
    ? [true, 'agrees with the document', value]
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

function compareTokens(text: string, record: MemoryRecord, keyring: Keyring | null): [boolean, string] {
  const decoded = decodeTokens(openTokens(record.tokens, keyring, record.id));
  const same = 'text' in decoded && decoded.text === text;
  return [same, same ? 'decode to the text' : 'decode to another text'];
}
