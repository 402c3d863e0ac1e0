import { z } from 'zod';
import { proveDocument, proveText, requireSigner, toJob, unproven } from '../../shared/pinning/proof.ts';
import type { ReflectionJob } from '../../shared/records/jobs.ts';
import { identifier } from '../../shared/identifiers.ts';
import {
  createReflectionDocument,
  DOCUMENT_BYTES,
  type ReflectionDocument,
  toBytes,
} from '../../shared/pinning/reflection-document.ts';
import { ownPublicKeys, signerOnce } from '../../shared/secrets/signing.ts';
import { countTokens } from '../../shared/records/tokens.ts';
import { validateSave } from '../../shared/records/conversation-id.ts';
import { listOf } from '../../shared/validate.ts';
import { ipfsNode } from './ipfs-node.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { cidText } from './reflections.ts';
import { type Receipt, receiptOf, type SaveOptions } from '../saving/receipt.ts';
import { savePinned } from '../saving/saving.ts';

/** A public key in the form in which documents carry it. */
export const publicKey = z.string().regex(/^[\w-]{43}$/, 'an Ed25519 public key, 32 bytes in base64url');

export const importRequest = z.strictObject({
  cid: cidText,
  contextId: identifier.optional(),
  userId: identifier.optional(),
  trustedKeys: listOf(publicKey, 100).optional(),
});
export type KnowledgeImport = z.input<typeof importRequest>;

/**
 * Takes over a knowledge item that another Mnemoq has published, from its CID alone. CID, document, signature and
 * digest are checked before anything is stored, and `unverified` names the link that does not hold. The worker checks
 * them once more, because anybody may add a job.
 */
export async function importKnowledge(
  request: KnowledgeImport,
  saveOptions: SaveOptions,
  parts: CallParts,
): Promise<Receipt> {
  const { cid, contextId, userId, trustedKeys = [] } = validateSave(importRequest, request, 'the request');
  const known = await findImported(cid, parts);
  if (known) return known;
  const bytes = await ipfsNode(parts.config).fetch(cid, DOCUMENT_BYTES);
  const doc = await proveDocument(cid, bytes);
  if (trustedKeys.length > 0) requireSigner(doc, [...trustedKeys, ...(ownPublicKeys(parts.config) ?? [])]);
  const job = jobOf(cid, doc, { contextId, userId });
  return savePinned(() => job, saveOptions, parts);
}

/** The receipt of an item that is here already, because it was imported before or published here. It stays as it is. */
async function findImported(cid: string, { longTerm }: CallParts): Promise<Receipt | null> {
  const row = await longTerm.reflections.find({ cid });
  const record = row?.pinned_at ? await longTerm.memories.find(row.id) : null;
  if (!row || !record) return null;
  const tokenCount = countTokens(record.tokens);
  return receiptOf(
    { id: row.id, contextId: row.context_id },
    { cid, tokenCount, supabaseStored: true, note: 'was here already' },
  );
}

function jobOf(
  cid: string,
  doc: ReflectionDocument,
  filed: { contextId: string | undefined; userId: string | undefined },
): ReflectionJob {
  const { type, contextId, previousCid, signingKey, signature } = doc;
  if (type !== 'knowledge') throw unproven('document', 'type: knowledge', `type: ${type}`);
  if (doc.text === undefined) throw unproven('document', 'a public one', 'a private one');
  const author = { signingKey, signature, ...(previousCid !== undefined && { previousCid }) };
  const job = { ...toJob(doc, proveText(doc, null), filed), imported: { cid, contextId, ...author } };
  // A text that is not well-formed Unicode would become another document here.
  const same = Buffer.compare(
    toBytes(createReflectionDocument(job, null, signerOnce(signingKey, signature))),
    toBytes(doc),
  );
  if (same !== 0) throw unproven('document', 'one that can be made again from its parts', 'one that cannot');
  return job;
}
