import { MnemoqError } from '../errors.ts';
import { computeCid } from './ipfs.ts';
import {
  digestOf,
  fromBytes,
  type ReflectionDocument,
  signatureHolds,
  textOf,
  toBytes,
} from './reflection-document.ts';
import { type ReflectionJob, reflectionJob } from '../records/jobs.ts';
import { keyIdOf } from '../secrets/signing.ts';
import { validate } from '../validate.ts';

/** What a document from elsewhere must prove, in the order in which it is looked at. */
export type Link = 'cid' | 'document' | 'signature' | 'signing key' | 'digest';

/** Follows a document from its CID to its signature. Throws `unverified` that names the link that does not hold. */
export async function proveDocument(cid: string, bytes: Uint8Array): Promise<ReflectionDocument> {
  const computed = await computeCid(bytes);
  if (computed !== cid) throw unproven('cid', cid, `bytes with CID ${computed}`);
  const doc = fromValidation(() => fromBytes(bytes));
  // Only the one spelling is taken, because a document that is made again from its parts must be the same to the byte.
  if (Buffer.compare(toBytes(doc), bytes) !== 0)
    throw unproven('document', 'canonical JSON (RFC 8785)', 'another form');
  if (keyIdOf(doc.signingKey) !== doc.signingKeyId || !signatureHolds(doc)) {
    throw unproven('signature', `one by the Ed25519 key ${doc.signingKeyId}`, 'one that does not hold');
  }
  return doc;
}

/** Throws `unverified` unless one of the keys has signed the document. */
export function requireSigner({ signingKey, signingKeyId }: ReflectionDocument, trusted: readonly string[]): void {
  if (!trusted.includes(signingKey)) throw unproven('signing key', 'one that is trusted', `key ${signingKeyId}`);
}

/** The text of a document. Throws `unverified` where its digest does not hold. `key` opens a private document. */
export function proveText(doc: ReflectionDocument, key: Buffer | null): string {
  const text = textOf(doc, key);
  if (text !== null && digestOf(text, key) === doc.sha256) return text;
  throw unproven('digest', doc.sha256, 'a text with another one');
}

/** The save that a document stands for. Throws `unverified` where no save could have made it. */
export function toJob(
  doc: ReflectionDocument,
  text: string,
  filed: { contextId?: string | undefined; userId?: string | null | undefined },
): ReflectionJob {
  const { id, type: module, contextId, createdAt, sourceIds } = doc;
  const given = {
    id,
    contextId: filed.contextId ?? contextId,
    userId: filed.userId ?? undefined,
    reflectionText: text,
    visibility: doc.text === undefined ? 'private' : 'public',
    module,
    sourceIds,
    createdAt,
  };
  const job = fromValidation(() => validate(reflectionJob, given, 'the document'));
  // A moment in another spelling, or an id in capital letters, would make another document.
  if (job.id !== id || job.createdAt !== createdAt) throw unproven('document', 'id and createdAt as saved', 'others');
  return job;
}

export function unproven(link: Link, expected: string, received: string): MnemoqError {
  const problems = [{ field: link, expected, received }];
  return new MnemoqError('unverified', `${link}: expected ${expected}, received ${received}`, { problems });
}

function fromValidation<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MnemoqError)) throw error;
    const [problem] = error.problems;
    throw unproven('document', `${problem?.field}: ${problem?.expected}`, `${problem?.received}`);
  }
}
