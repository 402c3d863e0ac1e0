import { createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import canonicalize from 'canonicalize';
import { z } from 'zod';
import { KEY_BYTES, openWith, sealWith } from '../secrets/encryption.ts';
import { MnemoqError } from '../errors.ts';
import { type ReflectionJob, TEXT_BYTES } from '../records/jobs.ts';
import { type Signer, verifySignature } from '../secrets/signing.ts';
import { validate } from '../validate.ts';

/** The most bytes of a document. It is a head and a text, and a byte of text becomes at most six of JSON, as \u0001 does. */
export const DOCUMENT_BYTES = 8 * TEXT_BYTES;

/** The kid in the envelope of a private text: the text is sealed with the reflection's own key, not one of the keyring. */
const OWN_KEY = 'self';

const unsigned = z.strictObject({
  version: z.literal(1),
  id: z.uuid(),
  type: z.enum(['reflection', 'finetune', 'knowledge']),
  contextId: z.string(),
  createdAt: z.string(),
  sourceIds: z.array(z.uuid()),
  /** The CID of the newest earlier record of the same type, conversation and user; absent where there was none. */
  previousCid: z.string().min(1).max(200).optional(),
  /** In hex: of a public text its SHA-256, of a private text its HMAC-SHA-256 under the reflection's own key. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits'),
  signingKeyId: z.string(),
  signingKey: z.string(),
  /** A document has either `text` or `ciphertext`. */
  text: z.string().optional(),
  ciphertext: z.string().optional(),
});
const document = unsigned
  .extend({ signature: z.string() })
  .refine((doc) => (doc.text === undefined) !== (doc.ciphertext === undefined), 'either text or ciphertext');

/** The JSON file that a reflection is on IPFS, in version 1. */
export type ReflectionDocument = z.infer<typeof document>;

/** What a document is made of: what was saved, and which record was there before it. */
export type DocumentSource = ReflectionJob & { previousCid?: string | null };

/** A random key for one private reflection. */
export function newReflectionKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

/**
 * Builds and signs the document. The same record, key and signer always make the same bytes and so the same CID. For this the
 * signature is deterministic, and the IV is derived from the reflection's own key, which seals this one text and nothing else.
 * `key` is null for a public reflection.
 */
export function createReflectionDocument(
  job: DocumentSource,
  key: Buffer | null,
  signer: Pick<Signer, 'kid' | 'publicKey' | 'sign'>,
): ReflectionDocument {
  const text = job.reflectionText.toWellFormed();
  const { previousCid } = job.imported ?? job;
  const body = {
    version: 1 as const,
    id: job.id,
    type: job.module ?? ('reflection' as const),
    contextId: job.imported?.contextId ?? job.contextId,
    createdAt: job.createdAt,
    sourceIds: job.sourceIds ?? [],
    ...(previousCid && { previousCid }),
    sha256: digestOf(text, key),
    signingKeyId: signer.kid,
    signingKey: signer.publicKey,
    ...(key ? { ciphertext: sealWith({ kid: OWN_KEY, key }, Buffer.from(text), job.id, ivOf(key)) } : { text }),
  };
  return { ...body, signature: signer.sign(serialize(body)) };
}

/**
 * The digest that proves the text. Where the text is private, the digest is keyed with the reflection's own key: a plain digest
 * would let anybody who guesses the text confirm the guess.
 */
export function digestOf(text: string, key: Buffer | null): string {
  return (key ? createHmac('sha256', key) : createHash('sha256')).update(text).digest('hex');
}

function ivOf(key: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', 'mnemoq reflection iv', 12));
}

/** The bytes that go to IPFS: JSON in UTF-8 with its keys in canonical order (RFC 8785). */
export function toBytes(doc: ReflectionDocument): Uint8Array {
  return new TextEncoder().encode(serialize(doc));
}

/** Reads a document. Throws `invalid_input` when the bytes are not one. */
export function fromBytes(bytes: Uint8Array): ReflectionDocument {
  const what = 'the document on IPFS';
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    const problem = { field: what, expected: 'JSON in UTF-8', received: `${bytes.length} bytes that are not` };
    const message = `${what} is not valid: expected ${problem.expected}, received ${problem.received}`;
    throw new MnemoqError('invalid_input', message, { problems: [problem] });
  }
  return validate(document, value, what);
}

export function signatureHolds(doc: ReflectionDocument): boolean {
  const { signature, ...body } = doc;
  return verifySignature(serialize(body), signature, doc.signingKey);
}

/** The text of a document. `key` opens a private one; without it the text of a private document is null. */
export function textOf(doc: ReflectionDocument, key: Buffer | null): string | null {
  if (doc.text !== undefined) return doc.text;
  if (!key || doc.ciphertext === undefined) return null;
  return openWith({ kid: OWN_KEY, key }, doc.ciphertext, doc.id).toString();
}

function serialize(value: object): string {
  return canonicalize(value) as string;
}
