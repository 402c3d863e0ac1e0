import { UnrecoverableError } from 'bullmq';
import { MnemoqError } from '../../shared/errors.ts';
import { computeCid, Ipfs } from '../../shared/pinning/ipfs.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { newRecord } from '../../shared/tiers/new-record.ts';
import type { ReflectionResult } from '../../shared/queues.ts';
import { positionOf } from '../../shared/records/position.ts';
import { type MemoryRecord, type ReflectionJob, reflectionJob } from '../../shared/records/records.ts';
import {
  createReflectionDocument,
  type DocumentSource,
  newReflectionKey,
  type ReflectionDocument,
  signatureHolds,
  toBytes,
} from '../../shared/pinning/reflection-document.ts';
import { type Signer, signerOnce } from '../../shared/secrets/signing.ts';
import { countTokens } from '../../shared/records/tokens.ts';
import { activeTraceparent, inSpan } from '../../shared/telemetry/tracing.ts';
import { validate } from '../../shared/validate.ts';
import { commit } from '../steps/commit.ts';
import { admitImported } from './imported.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';
import { remember } from '../steps/remember.ts';

export interface ReflectionParts extends WorkerParts {
  keyring: NonNullable<WorkerParts['keyring']>;
  signer: Pick<Signer, 'kid' | 'publicKey' | 'sign'>;
  ipfs: Pick<Ipfs, 'pin'>;
}

/** What a job needs to know of itself: how far an earlier attempt came. A BullMQ `Job` has both. */
export interface ReflectionSteps {
  progress: unknown;
  updateProgress(progress: { step: Step }): Promise<void>;
}

/** Steps whose effect is kept, in order; a retry goes on after the last one. */
type Step = 'committed' | 'pinned';

/** One reflection: validate, tokenize, commit, sign and seal, pin, write the CID back. */
export async function processReflection(
  data: unknown,
  steps: ReflectionSteps,
  parts: ReflectionParts,
): Promise<ReflectionResult> {
  const job = validate(reflectionJob, data, 'the reflection job');
  await admitImported(job, parts);
  const { id, contextId, createdAt } = job;
  const head = { id, contextId, userId: job.userId ?? null, createdAt, module: job.module ?? ('reflection' as const) };
  const record = newRecord(head, { text: job.reflectionText }, parts);
  const reached = (steps.progress as { step?: Step } | null)?.step;

  if (reached === undefined) {
    await commitAtOnce(record, parts);
    await steps.updateProgress({ step: 'committed' });
  } else {
    // The first attempt was looked at where it was remembered; meanwhile its user may have been erased.
    await parts.erasures.refuse(job.userId, contextId);
  }
  const signer = job.imported ? signerOnce(job.imported.signingKey, job.imported.signature) : parts.signer;
  const { row, bytes } = await prepareDocument(job, { ...parts, signer });
  const result = { tokenCount: countTokens(record.tokens), cid: row.cid, sha256: row.sha256 };
  if (row.pinned_at === null && reached !== 'pinned') {
    const about = { 'mnemoq.record.id': id, 'mnemoq.cid': row.cid };
    await inSpan('pin', about, async () => parts.metrics.timePin(() => parts.ipfs.pin(bytes, row.cid)));
    await steps.updateProgress({ step: 'pinned' });
  }
  await writeBack(record, row, parts);
  return result;
}

/** A reflection does not wait for the flush. Until Supabase takes it, it is pending and readable like any record. */
async function commitAtOnce(record: MemoryRecord, parts: ReflectionParts): Promise<void> {
  const remembered = await remember(record, parts);
  const outcome = await commit([{ record, entry: remembered.entry, traceparent: activeTraceparent() }], parts);
  if (outcome.failure) {
    throw new MnemoqError(
      'long_term_unavailable',
      `committing failed: ${outcome.failure.code} ${outcome.failure.message}`,
    );
  }
  if (outcome.refused > 0) {
    throw new UnrecoverableError(
      'Supabase refused the reflection: mend it with `mnemoq quarantine retry`, then retry this job',
    );
  }
}

/**
 * The document's bytes and its row. The row, with the wrapped key, is kept before anything is uploaded: whatever happens
 * later, a pinned ciphertext has its key. A retry, a second worker or a repeated save finds that row, takes its key, head,
 * link to the record before it and signature, and so makes the same document with the same CID, also where another key
 * signs by now.
 */
async function prepareDocument(
  job: ReflectionJob,
  parts: ReflectionParts,
): Promise<{ row: ReflectionRow; bytes: Uint8Array }> {
  const { keyring, longTerm } = parts;
  const wrappedKey = job.visibility === 'private' ? keyring.seal(newReflectionKey(), keyPurpose(job.id)) : null;
  const fresh = await build({ ...job, previousCid: await previousCid(job, parts) }, wrappedKey, parts);
  const kept = await longTerm.reflections.keep(fresh.row);
  if (kept.cid === fresh.row.cid && kept.pinned_at === null) return fresh;
  const { context_id: contextId, module, visibility, source_ids: sourceIds, previous_cid: previous } = kept;
  const createdAt = new Date(kept.created_at).toISOString();
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

/** Of the newest record before this one, by position, that has a row by now; null where there is none. */
async function previousCid(job: ReflectionJob, { longTerm }: ReflectionParts): Promise<string | null> {
  const { contextId, userId = null, module = 'reflection' } = job;
  const [previous] = await longTerm.reflections.before({ module, contextId, userId }, positionOf(job), 1);
  return previous?.cid ?? null;
}

async function build(
  job: DocumentSource,
  wrappedKey: string | null,
  { keyring, signer }: Pick<ReflectionParts, 'keyring' | 'signer'>,
): Promise<{ row: ReflectionRow; doc: ReflectionDocument; bytes: Uint8Array }> {
  const doc = createReflectionDocument(
    job,
    wrappedKey === null ? null : keyring.open(wrappedKey, keyPurpose(job.id)),
    signer,
  );
  const bytes = toBytes(doc);
  const row: ReflectionRow = {
    id: job.id,
    context_id: job.contextId,
    user_id: job.userId ?? null,
    module: doc.type,
    cid: await computeCid(bytes),
    sha256: doc.sha256,
    signature: doc.signature,
    signing_kid: doc.signingKeyId,
    signing_key: doc.signingKey,
    wrapped_key: wrappedKey,
    visibility: job.visibility,
    source_ids: doc.sourceIds,
    previous_cid: doc.previousCid ?? null,
    pinned_at: null,
    created_at: job.createdAt,
  };
  return { row, doc, bytes };
}

/** What a reflection's own key is sealed for. */
function keyPurpose(id: string): string {
  return `key:${id}`;
}

/** Where an earlier attempt, or an earlier save with this id, has written the CID back, only the cache is left to do. */
async function writeBack(
  record: MemoryRecord,
  row: ReflectionRow,
  { longTerm, shortTerm }: ReflectionParts,
): Promise<void> {
  const pinnedAt = new Date(row.pinned_at ?? Date.now()).toISOString();
  if (row.pinned_at === null) await longTerm.reflections.setPinned({ ...row, pinned_at: pinnedAt });
  await shortTerm.replace({ ...record, createdAt: row.created_at, cid: row.cid });
  await shortTerm.rememberPin({
    id: row.id,
    contextId: row.context_id,
    userId: row.user_id,
    module: row.module,
    cid: row.cid,
    sha256: row.sha256,
    signature: row.signature,
    visibility: row.visibility,
    createdAt: row.created_at,
    pinnedAt,
  });
}
