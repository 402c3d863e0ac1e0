import { UnrecoverableError } from 'bullmq';
import { MnemoqError } from '../shared/errors.ts';
import { computeCid, Ipfs } from '../shared/ipfs.ts';
import type { ReflectionRow } from '../shared/long-term.ts';
import type { ReflectionResult } from '../shared/queues.ts';
import { type MemoryRecord, type ReflectionJob, reflectionJob } from '../shared/records.ts';
import {
  createReflectionDocument,
  newReflectionKey,
  type ReflectionDocument,
  toBytes,
} from '../shared/reflection-document.ts';
import { Signer } from '../shared/signing.ts';
import { countTokens } from '../shared/tokens.ts';
import { validate } from '../shared/validate.ts';
import { commit } from './commit.ts';
import { newRecord } from './new-record.ts';
import type { Parts } from './parts.ts';

export interface ReflectionParts extends Parts {
  keyring: NonNullable<Parts['keyring']>;
  signer: Signer;
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
  const { id, contextId, createdAt } = job;
  const head = { id, contextId, userId: job.userId ?? null, createdAt, module: 'reflection' as const };
  const record = newRecord(head, { text: job.reflectionText }, parts);
  const reached = (steps.progress as { step?: Step } | null)?.step;

  if (reached === undefined) {
    await commitAtOnce(record, parts);
    await steps.updateProgress({ step: 'committed' });
  }
  const { doc, row, bytes } = await prepareDocument(job, parts);
  if (reached !== 'pinned') {
    await parts.ipfs.pin(bytes, row.cid);
    await steps.updateProgress({ step: 'pinned' });
  }
  await writeBack(record, doc, row, parts);
  return { tokenCount: countTokens(record.tokens), cid: row.cid, sha256: doc.sha256 };
}

/** A reflection does not wait for the flush. Until Supabase takes it, it is pending and readable like any record. */
async function commitAtOnce(record: MemoryRecord, parts: ReflectionParts): Promise<void> {
  const remembered = await parts.shortTerm.remember(record);
  const outcome = await commit([{ record, entry: remembered.entry }], parts);
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
 * The document and its row. The row, with the wrapped key, is kept before anything is uploaded: whatever happens later,
 * a pinned ciphertext has its key. A retry, or a second worker, finds that row, takes its key and so makes the same
 * document with the same CID.
 */
async function prepareDocument(
  job: ReflectionJob,
  parts: ReflectionParts,
  kept?: ReflectionRow,
): Promise<{ doc: ReflectionDocument; row: ReflectionRow; bytes: Uint8Array }> {
  const { keyring, longTerm, signer } = parts;
  const purpose = `key:${job.id}`;
  const fresh = () => (job.visibility === 'private' ? keyring.seal(newReflectionKey(), purpose) : null);
  const wrappedKey = kept ? kept.wrapped_key : fresh();
  const doc = createReflectionDocument(job, wrappedKey === null ? null : keyring.open(wrappedKey, purpose), signer);
  const bytes = toBytes(doc);
  const row: ReflectionRow = {
    id: job.id,
    context_id: job.contextId,
    user_id: job.userId ?? null,
    cid: await computeCid(bytes),
    sha256: doc.sha256,
    signature: doc.signature,
    signing_kid: doc.signingKeyId,
    signing_key: doc.signingKey,
    wrapped_key: wrappedKey,
    visibility: job.visibility,
    source_ids: doc.sourceIds,
    pinned_at: null,
    created_at: job.createdAt,
  };
  if (kept) return { doc, row, bytes };
  const stored = await longTerm.addReflection(row);
  return stored.wrapped_key === wrappedKey ? { doc, row, bytes } : prepareDocument(job, parts, stored);
}

async function writeBack(
  record: MemoryRecord,
  doc: ReflectionDocument,
  row: ReflectionRow,
  { longTerm, shortTerm }: ReflectionParts,
): Promise<void> {
  const pinnedAt = new Date().toISOString();
  await longTerm.setPinned({ ...row, pinned_at: pinnedAt });
  await shortTerm.replace({ ...record, cid: row.cid });
  await shortTerm.rememberPin({
    id: record.id,
    contextId: record.contextId,
    cid: row.cid,
    sha256: doc.sha256,
    signature: doc.signature,
    visibility: row.visibility,
    createdAt: record.createdAt,
    pinnedAt,
  });
}
