import { UnrecoverableError } from 'bullmq';
import { isError } from '../../shared/errors.ts';
import { proveDocument, proveText } from '../../shared/pinning/proof.ts';
import type { ReflectionJob } from '../../shared/records/jobs.ts';
import { createReflectionDocument, toBytes } from '../../shared/pinning/reflection-document.ts';
import { signerOnce } from '../../shared/secrets/signing.ts';
import type { ReflectionParts } from './reflection-parts.ts';

/**
 * Lets a job with imported knowledge pass, before anything of it is stored, only when it makes the very document that was
 * imported, byte by byte, and when the signature of its author holds. The id of the item comes from elsewhere and may belong
 * to another record here; then the record that is here stays and the job fails. A job without imported knowledge passes.
 */
export async function admitImported(job: ReflectionJob, parts: ReflectionParts): Promise<void> {
  if (!job.imported) return;
  const doc = createReflectionDocument(job, null, signerOnce(job.imported.signingKey, job.imported.signature));
  try {
    await proveDocument(job.imported.cid, toBytes(doc));
    proveText(doc, null);
  } catch (error) {
    if (!isError(error, 'unverified')) throw error;
    throw new UnrecoverableError(`this is not the item that was imported: ${error.message}`);
  }
  if (await isTaken(job, job.imported.cid, parts)) {
    throw new UnrecoverableError('another record has the id of this item; that one stays');
  }
}

/** Whether the id belongs to another record, in Redis or in Supabase. */
async function isTaken(
  { id, contextId }: ReflectionJob,
  cid: string,
  { pending, shortTerm, longTerm }: ReflectionParts,
): Promise<boolean> {
  const located = await pending.locate(id);
  if (located && located.contextId !== contextId) return true;
  const [cached] = await shortTerm.find(contextId, [id]);
  const [committed, row] = await Promise.all([longTerm.memories.find(id), longTerm.reflections.find({ id })]);
  const others = [cached, committed].filter((record) => record && record.module !== 'knowledge');
  const elsewhere = committed !== null && committed.contextId !== contextId;
  return others.length > 0 || elsewhere || (row !== null && row.cid !== cid);
}
