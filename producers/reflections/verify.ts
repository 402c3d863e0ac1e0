import { MnemoqError, messageOf } from '../../shared/errors.ts';
import type { Memories } from '../../shared/long-term/memories.ts';
import type { Reflections } from '../../shared/long-term/reflections.ts';
import { computeCid, type Ipfs } from '../../shared/pinning/ipfs.ts';
import { DOCUMENT_BYTES, fromBytes, signatureHolds } from '../../shared/pinning/reflection-document.ts';
import type { Keyring } from '../../shared/secrets/keyring.ts';
import { keyIdOf, ownPublicKeys } from '../../shared/secrets/signing.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { type ReadOptions, userOf } from '../reading/reading.ts';
import {
  checkDigest,
  checkKey,
  type CheckResult,
  compareRecord,
  compareRow,
  compareTokens,
} from './document-checks.ts';
import { ipfsNode } from './ipfs-node.ts';
import { cidText } from './reflections.ts';

export interface VerificationCheck {
  name: 'fetched' | 'cid' | 'document' | 'signature' | 'key' | 'row' | 'digest' | 'record' | 'tokens';
  ok: boolean;
  /** What was found, in words. */
  detail: string;
}

export interface Verification {
  cid: string;
  /** True when every check holds. */
  ok: boolean;
  /** In their order. When a check fails on which the others depend, those are left out. */
  checks: VerificationCheck[];
}

export interface VerifyParts {
  ipfs: Pick<Ipfs, 'fetch'>;
  longTerm: { memories: Pick<Memories, 'find'>; reflections: Pick<Reflections, 'find'> };
  keyring: Keyring | null;
  /** The public keys whose signatures are ours; null when none is configured. */
  ownKeys: ReadonlySet<string> | null;
}

/** Throws `invalid_configuration` when there is no IPFS node to ask. */
export function verifyParts({
  config,
  longTerm,
  keyring,
}: Pick<CallParts, 'config' | 'longTerm' | 'keyring'>): VerifyParts {
  return { ipfs: ipfsNode(config), longTerm, keyring, ownKeys: ownPublicKeys(config) };
}

/**
 * Follows a reflection link by link. Throws `invalid_configuration` when there is no IPFS node to ask, and `not_found` when a
 * user is given and no reflection of that user has this CID.
 */
export async function verify(cid: string, options: ReadOptions, parts: CallParts): Promise<Verification> {
  validate(cidText, cid, 'cid');
  const userId = userOf(options);
  if (userId !== undefined) {
    const row = await parts.longTerm.reflections.find({ cid });
    if (row?.user_id !== userId) throw new MnemoqError('not_found', 'no reflection with this CID');
  }
  return verifyCid(cid, verifyParts(parts));
}

/** Follows a reflection from its CID to its row and its tokens, and says of every link whether it holds. */
export async function verifyCid(cid: string, parts: VerifyParts): Promise<Verification> {
  const checks: VerificationCheck[] = [];
  const check = async <T>(name: VerificationCheck['name'], test: () => Promise<CheckResult<T>>): Promise<T | null> => {
    const [ok, detail, value] = await test().catch((error): CheckResult => [false, messageOf(error)]);
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
