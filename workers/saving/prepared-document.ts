import { toMoment } from '../../shared/moments.ts';
import { UnrecoverableError } from 'bullmq';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import {
  createReflectionDocument,
  type DocumentSource,
  newReflectionKey,
  type ReflectionDocument,
  signatureHolds,
  toBytes,
} from '../../shared/pinning/reflection-document.ts';
import { computeCid } from '../../shared/pinning/ipfs.ts';
import { positionOf } from '../../shared/records/position.ts';
import type { ReflectionJob } from '../../shared/records/jobs.ts';
import { signerOnce } from '../../shared/secrets/signing.ts';
import { newReflectionRow } from '../../shared/tiers/new-reflection-row.ts';
import type { ReflectionParts } from './reflection-parts.ts';

/** A document in the form that is pinned, and the row of `memory_reflections` that belongs to it. */
interface Prepared {
  row: ReflectionRow;
  bytes: Uint8Array;
}

/**
 * Makes the document of a reflection and keeps its row before anything is uploaded, so that the key of a pinned ciphertext is
 * never missing, whatever happens later. When a row is there already, from an earlier attempt, another worker or an earlier
 * save with this id, the document is made from that row: with its key, head, signature and link to the record before it. So
 * the document and its CID are the same again, also when another key signs by now.
 */
export async function prepareDocument(job: ReflectionJob, parts: ReflectionParts): Promise<Prepared> {
  const { keyring, longTerm } = parts;
  const wrappedKey = job.visibility === 'private' ? keyring.seal(newReflectionKey(), keyPurpose(job.id)) : null;
  const fresh = await build({ ...job, previousCid: await previousCid(job, parts) }, wrappedKey, parts);
  const kept = await longTerm.reflections.keep(fresh.row);
  if (kept.cid === fresh.row.cid && kept.pinned_at === null) return fresh;
  return rebuild(job, kept, parts);
}

/** Makes the document of a row that is kept already. Fails the job when the row belongs to another text or was altered. */
async function rebuild(job: ReflectionJob, kept: ReflectionRow, parts: ReflectionParts): Promise<Prepared> {
  const { context_id: contextId, module, visibility, source_ids: sourceIds, previous_cid: previous } = kept;
  const createdAt = toMoment(kept.created_at);
  const head = { ...job, contextId, module, createdAt, visibility, sourceIds, previousCid: previous };
  const same = await build(head, kept.wrapped_key, { ...parts, signer: signerOnce(kept.signing_key, kept.signature) });
  if (same.row.sha256 !== kept.sha256) {
    throw new UnrecoverableError('another reflection was saved under this id or idempotency key; the first one stays');
  }
  if (kept.pinned_at !== null) return { ...same, row: kept };
  if (!signatureHolds(same.doc)) {
    throw new UnrecoverableError(
      'its row of memory_reflections was altered: the signature there does not hold; delete the row, then retry this job',
    );
  }
  return same;
}

/** The CID of the newest record that stands before this one and has a row by now; null when there is none. */
async function previousCid(job: ReflectionJob, { longTerm }: ReflectionParts): Promise<string | null> {
  const { contextId, userId = null, module = 'reflection' } = job;
  const [previous] = await longTerm.reflections.before({ module, contextId, userId }, positionOf(job), 1);
  return previous?.cid ?? null;
}

async function build(
  job: DocumentSource,
  wrappedKey: string | null,
  { keyring, signer }: Pick<ReflectionParts, 'keyring' | 'signer'>,
): Promise<Prepared & { doc: ReflectionDocument }> {
  const key = wrappedKey === null ? null : keyring.open(wrappedKey, keyPurpose(job.id));
  const doc = createReflectionDocument(job, key, signer);
  const bytes = toBytes(doc);
  const { contextId, userId = null } = job;
  const cid = await computeCid(bytes);
  return { row: newReflectionRow(doc, { cid, contextId, userId, wrappedKey, pinnedAt: null }), doc, bytes };
}

/** What the key of a reflection is sealed for. */
function keyPurpose(id: string): string {
  return `key:${id}`;
}
