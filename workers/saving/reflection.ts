import { UnrecoverableError } from 'bullmq';
import { MnemoqError } from '../../shared/errors.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import type { ReflectionResult } from '../../shared/queues.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { type ReflectionJob, reflectionJob } from '../../shared/records/jobs.ts';
import { countTokens } from '../../shared/records/tokens.ts';
import { signerOnce } from '../../shared/secrets/signing.ts';
import { activeTraceparent, inSpan } from '../../shared/telemetry/tracing.ts';
import { newRecord } from '../../shared/tiers/new-record.ts';
import { validateSave } from '../../shared/records/conversation-id.ts';
import { commit } from '../steps/commit.ts';
import { remember } from '../steps/remember.ts';
import { admitImported } from './imported.ts';
import { prepareDocument } from './prepared-document.ts';
import type { ReflectionParts } from './reflection-parts.ts';

/** What a job needs to know of itself: how far an earlier attempt came. A BullMQ `Job` has both members. */
export interface ReflectionSteps {
  progress: unknown;
  updateProgress(progress: { step: Step }): Promise<void>;
}

/** The steps whose effect is kept, in their order. A retry goes on after the last of them. */
type Step = 'committed' | 'pinned';

/** One reflection: validate, tokenize, commit, sign and seal, pin, write the CID back. */
export async function processReflection(
  data: unknown,
  steps: ReflectionSteps,
  parts: ReflectionParts,
): Promise<ReflectionResult> {
  const job = validateSave(reflectionJob, data, 'the reflection job');
  await admitImported(job, parts);
  const record = tokenizeReflection(job, parts);
  const reached = (steps.progress as { step?: Step } | null)?.step;
  if (reached === undefined) {
    await commitAtOnce(record, parts);
    await steps.updateProgress({ step: 'committed' });
  } else {
    // Remembering refused an erased user in the first attempt. This attempt remembers nothing, and the user may have been
    // erased since then.
    await parts.erasures.refuse(job.userId, job.contextId);
  }
  const signer = job.imported ? signerOnce(job.imported.signingKey, job.imported.signature) : parts.signer;
  const { row, bytes } = await prepareDocument(job, { ...parts, signer });
  if (row.pinned_at === null && reached !== 'pinned') {
    await pin(row, bytes, parts);
    await steps.updateProgress({ step: 'pinned' });
  }
  await writeBack(record, row, parts);
  return { tokenCount: countTokens(record.tokens), cid: row.cid, sha256: row.sha256 };
}

function tokenizeReflection(job: ReflectionJob, parts: ReflectionParts): MemoryRecord {
  const { id, contextId, userId = null, createdAt, module = 'reflection', reflectionText } = job;
  return newRecord({ id, contextId, userId, createdAt, module }, { text: reflectionText }, parts);
}

/** A reflection does not wait for the flush. Until Supabase takes it, it is pending and readable like every other record. */
async function commitAtOnce(record: MemoryRecord, parts: ReflectionParts): Promise<void> {
  const remembered = await remember(record, parts);
  const outcome = await commit([{ record, entry: remembered.entry, traceparent: activeTraceparent() }], parts);
  if (outcome.failure) {
    throw new MnemoqError(
      'supabase_unavailable',
      `committing failed: ${outcome.failure.code} ${outcome.failure.message}`,
    );
  }
  if (outcome.refused > 0) {
    throw new UnrecoverableError(
      'Supabase refused the reflection: mend it with `mnemoq quarantine retry`, then retry this job',
    );
  }
}

async function pin({ id, cid }: ReflectionRow, bytes: Uint8Array, { ipfs, metrics }: ReflectionParts): Promise<void> {
  const about = { 'mnemoq.record.id': id, 'mnemoq.cid': cid };
  await inSpan('pin', about, async () => metrics.timePin(() => ipfs.pin(bytes, cid)));
}

/**
 * Writes the CID into both tables and into Redis. When an earlier attempt, or an earlier save with this id, has written it
 * into Supabase, only Redis is left to do.
 */
async function writeBack(
  record: MemoryRecord,
  row: ReflectionRow,
  { longTerm, pins, shortTerm }: ReflectionParts,
): Promise<void> {
  const pinnedAt = new Date(row.pinned_at ?? Date.now()).toISOString();
  if (row.pinned_at === null) await longTerm.reflections.setPinned({ ...row, pinned_at: pinnedAt });
  await shortTerm.replace({ ...record, createdAt: row.created_at, cid: row.cid });
  await pins.remember({
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
