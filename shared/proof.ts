import { MnemoqError } from './errors.ts';
import { computeCid } from './ipfs.ts';
import {
  digestOf,
  fromBytes,
  type ReflectionDocument,
  signatureHolds,
  textOf,
  toBytes,
} from './reflection-document.ts';
import { keyIdOf } from './signing.ts';

/** What a document from elsewhere must prove, in the order in which it is looked at. */
export type Link = 'cid' | 'document' | 'signature' | 'signing key' | 'digest';

/** Follows a document from its CID to its signature; throws `unverified` naming the link that does not hold. */
export async function proveDocument(cid: string, bytes: Uint8Array): Promise<ReflectionDocument> {
  const computed = await computeCid(bytes);
  if (computed !== cid) throw unproven('cid', cid, `bytes with CID ${computed}`);
  const doc = readDocument(bytes);
  // Only the one spelling: a document that is made again from its parts must be the same to the byte.
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

/** The text of a document whose digest holds; throws `unverified` where it does not. `key` opens a private one. */
export function proveText(doc: ReflectionDocument, key: Buffer | null): string {
  const text = textOf(doc, key);
  if (text !== null && digestOf(text, key) === doc.sha256) return text;
  throw unproven('digest', doc.sha256, 'a text with another one');
}

export function unproven(link: Link, expected: string, received: string): MnemoqError {
  const problems = [{ field: link, expected, received }];
  return new MnemoqError('unverified', `${link}: expected ${expected}, received ${received}`, { problems });
}

function readDocument(bytes: Uint8Array): ReflectionDocument {
  try {
    return fromBytes(bytes);
  } catch (error) {
    if (!(error instanceof MnemoqError)) throw error;
    const [problem] = error.problems;
    const field = problem && /^\w+$/.test(problem.field) ? `${problem.field}: ` : '';
    throw unproven('document', `${field}${problem?.expected}`, `${problem?.received}`);
  }
}
