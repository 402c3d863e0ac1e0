import { MnemoqError, messageOf } from '../../shared/errors.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import type { ArchivedDocument, ArchivedRow } from '../../shared/pinning/archive.ts';
import { proveDocument, proveText, requireSigner, toJob } from '../../shared/pinning/proof.ts';
import type { ReflectionDocument } from '../../shared/pinning/reflection-document.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { newRecord } from '../../shared/tiers/new-record.ts';
import { newReflectionRow } from '../../shared/tiers/new-reflection-row.ts';
import type { CallParts } from '../parts/call-parts.ts';

/** A document that has proved what it is, with the record and the row that it was. */
export interface ProvenDocument {
  record: MemoryRecord;
  row: ReflectionRow;
  bytes: Uint8Array;
}

/** Why a document cannot be restored. */
export interface Unproven {
  outcome: 'missing' | 'refused' | 'unreadable';
  reason: string;
}

/** Checks a document from its CID to its text. One of the `trusted` public keys must have signed it. */
export async function prove(
  { cid, row, bytes }: ArchivedDocument,
  trusted: readonly string[],
  parts: CallParts,
): Promise<ProvenDocument | Unproven> {
  if (!bytes) return { outcome: 'missing', reason: 'not all of it is there' };
  try {
    const doc = await proveDocument(cid, bytes);
    requireSigner(doc, trusted);
    const key = keyOf(doc, row, parts);
    if (key instanceof MnemoqError) return { outcome: 'unreadable', reason: key.message };
    return { ...rebuild(cid, doc, proveText(doc, key), row, parts), bytes };
  } catch (error) {
    if (!(error instanceof MnemoqError)) throw error;
    return { outcome: 'refused', reason: error.message };
  }
}

/** The document's own key, null for a document that needs none, or the reason for which the key cannot be had. */
function keyOf(doc: ReflectionDocument, row: ArchivedRow | null, { keyring }: CallParts): Buffer | null | MnemoqError {
  if (doc.text !== undefined) return null;
  if (!row?.wrappedKey) return new MnemoqError('key_missing', 'private, and its wrapped key did not come with it');
  if (!keyring) return new MnemoqError('key_missing', 'private: MEMORY_ENCRYPTION_KEYS is needed to open it');
  try {
    return keyring.open(row.wrappedKey, `key:${doc.id}`);
  } catch (error) {
    return new MnemoqError('key_missing', messageOf(error), { cause: error });
  }
}

function rebuild(
  cid: string,
  doc: ReflectionDocument,
  text: string,
  archived: ArchivedRow | null,
  parts: CallParts,
): Omit<ProvenDocument, 'bytes'> {
  const job = toJob(doc, text, archived ?? {});
  const { id, contextId, createdAt } = job;
  const head = { id, contextId, userId: job.userId ?? null, createdAt, module: doc.type };
  const record = { ...newRecord(head, { text }, parts), cid };
  const row = newReflectionRow(doc, {
    cid,
    contextId,
    userId: head.userId,
    wrappedKey: archived?.wrappedKey ?? null,
    pinnedAt: archived?.pinnedAt ?? new Date().toISOString(),
  });
  return { record, row };
}
