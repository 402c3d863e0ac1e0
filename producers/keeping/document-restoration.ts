import { z } from 'zod';
import type { ArchivedDocument, ArchivedRow } from '../../shared/pinning/archive.ts';
import { MnemoqError, messageOf } from '../../shared/errors.ts';
import type { Ipfs } from '../../shared/pinning/ipfs.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { newRecord } from '../../shared/tiers/new-record.ts';
import { newReflectionRow } from '../../shared/tiers/new-reflection-row.ts';
import { proveDocument, proveText, requireSigner, toJob } from '../../shared/pinning/proof.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { DOCUMENT_BYTES, type ReflectionDocument } from '../../shared/pinning/reflection-document.ts';
import { ownPublicKeys } from '../../shared/secrets/signing.ts';
import { listOf, validate } from '../../shared/validate.ts';
import { ipfsNode } from '../reflections/ipfs-node.ts';
import { publicKey } from '../reflections/knowledge-import.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { progressHandler } from '../parts/progress.ts';
import { inReadTime } from '../reading/reading.ts';
import { cidText } from '../reflections/reflections.ts';

/** Records written at once. */
const BATCH = 50;
/** Bytes of documents after which a batch is written: that much, and one document more, is in memory at once. */
const BATCH_BYTES = 8 * 1024 * 1024;
/** Uploads to the IPFS node at once. */
const PINNED_AT_ONCE = 4;
/** Documents told one by one; the rest are only counted. */
const TOLD = 100;

/** Exported because docs/calls.md is made from it. @public */
export const restorationOptions = z.strictObject({
  trustedKeys: listOf(publicKey, 100).optional(),
  onProgress: progressHandler<DocumentRestoration>().optional(),
});
export type RestorationOptions = z.input<typeof restorationOptions>;

/** What became of a document that was not restored. */
type Setback = 'missing' | 'refused' | 'unreadable' | 'erased';

/** How many documents were read, and what became of each. */
export interface DocumentRestoration extends Record<Setback, number> {
  documents: number;
  restored: number;
  /** Rows that were there already. */
  present: number;
  /** Those that were not restored and why, the first 100; the erased are among them, and are no fault. */
  failures: { cid: string; outcome: Setback; reason: string }[];
}

/** A document that proves what it is, as the record and the row it was. */
interface Proven {
  record: MemoryRecord;
  row: ReflectionRow;
  bytes: Uint8Array;
}

interface Restoring {
  parts: CallParts;
  ipfs: Ipfs;
  trusted: readonly string[];
  result: DocumentRestoration;
}

/**
 * Makes the rows of both tables again from documents, each checked from its CID to its text, and pins it here. Only documents
 * that this Mnemoq or one of the trusted keys has signed; private ones where their wrapped key comes along and can be opened;
 * nothing of an erased user or conversation. Rows that are there stay as they are, so it may run again, and while others work.
 */
export async function restoreDocuments(
  documents: AsyncIterable<ArchivedDocument>,
  options: RestorationOptions,
  parts: CallParts,
): Promise<DocumentRestoration> {
  const { trustedKeys = [], onProgress } = validate(restorationOptions, options, 'the options');
  const trusted = [...trustedKeys, ...(ownPublicKeys(parts.config) ?? [])];
  if (trusted.length === 0) {
    const expected = 'the key that signed the documents, or trusted keys beside it';
    throw new MnemoqError('invalid_configuration', `MEMORY_SIGNING_KEY: expected ${expected}, found nothing`);
  }
  const result = {
    documents: 0,
    restored: 0,
    present: 0,
    missing: 0,
    refused: 0,
    unreadable: 0,
    erased: 0,
    failures: [],
  };
  const restoring = { parts, ipfs: ipfsNode(parts.config), trusted, result };
  let batch: Proven[] = [];
  let bytes = 0;
  const write = async () => {
    const whole = batch;
    [batch, bytes] = [[], 0];
    if (whole.length > 0) await writeBatch(whole, restoring);
    onProgress?.(result);
  };
  try {
    for await (const document of documents) {
      result.documents += 1;
      const proven = await prove(document, restoring);
      if (!proven) continue;
      batch.push(proven);
      bytes += proven.bytes.length;
      if (batch.length === BATCH || bytes >= BATCH_BYTES) await write();
    }
  } finally {
    await write(); // also what came before the source failed
  }
  return result;
}

/** The documents behind some CIDs, as the IPFS node has them. Throws `ipfs_unavailable` when it is away. */
export async function* fetchDocuments(
  cids: AsyncIterable<string>,
  { config }: CallParts,
): AsyncGenerator<ArchivedDocument> {
  const ipfs = ipfsNode(config);
  await ipfs.version();
  for await (const cid of cids) {
    validate(cidText, cid, 'a CID');
    const bytes = await ipfs.fetch(cid, DOCUMENT_BYTES).catch(async () => {
      await ipfs.version();
      return null;
    });
    yield { cid, row: null, bytes };
  }
}

async function prove({ cid, row, bytes }: ArchivedDocument, restoring: Restoring): Promise<Proven | null> {
  if (!bytes) return setBack(cid, 'missing', 'not all of it is there', restoring);
  try {
    const doc = await proveDocument(cid, bytes);
    requireSigner(doc, restoring.trusted);
    const key = keyOf(doc, row, restoring.parts);
    if (key instanceof MnemoqError) return setBack(cid, 'unreadable', key.message, restoring);
    return { ...rebuild(cid, doc, proveText(doc, key), row, restoring.parts), bytes };
  } catch (error) {
    if (!(error instanceof MnemoqError)) throw error;
    return setBack(cid, 'refused', error.message, restoring);
  }
}

/** The document's own key, null where it needs none; the reason where it cannot be had. */
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
): Omit<Proven, 'bytes'> {
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

/**
 * Records, pins, rows, in this order: a row says that its document is pinned. An erasure that begins after the first look
 * removes what is written by then; what is written after it the second look finds.
 */
async function writeBatch(batch: readonly Proven[], restoring: Restoring): Promise<void> {
  const { fresh, present } = await compare(await spareErased(batch, restoring), restoring);
  const failure = await write(fresh, present, restoring).then(
    () => null,
    (error: unknown) => error,
  );
  const kept = await spareErased(fresh, restoring);
  const erased = fresh.filter((each) => !kept.includes(each));
  await remove(erased, restoring);
  if (failure !== null && erased.length > 0) return writeBatch([...kept, ...present], restoring); // they were in the way
  if (failure !== null) throw failure;
  restoring.result.restored += kept.length;
  restoring.result.present += present.length;
}

async function write(fresh: readonly Proven[], present: readonly Proven[], restoring: Restoring): Promise<void> {
  const { longTerm, shortTerm } = restoring.parts;
  const { failure } = await longTerm.memories.insert(fresh.map(({ record }) => record));
  if (failure) throw new MnemoqError('supabase_unavailable', `restoring failed: ${failure.code} ${failure.message}`);
  const conversations = new Set(fresh.map(({ record }) => record.contextId));
  await Promise.all([...conversations].map((contextId) => shortTerm.forgetFloor(contextId)));
  await pin([...fresh, ...present], restoring);
  await longTerm.reflections.add(fresh.map(({ row }) => row));
}

/** What is new, and what has its row already; an id that another record has is refused. */
async function compare(
  batch: readonly Proven[],
  restoring: Restoring,
): Promise<{ fresh: Proven[]; present: Proven[] }> {
  const ids = batch.map(({ row }) => row.id);
  const { longTerm } = restoring.parts;
  const [rows, records] = await inReadTime(
    Promise.all([longTerm.reflections.findMany(ids), longTerm.memories.findMany(ids)]),
    restoring.parts,
  );
  const rowOf = new Map(rows.map((row) => [row.id, row]));
  const recordOf = new Map(records.map((record) => [record.id, record]));
  const [fresh, present]: [Proven[], Proven[]] = [[], []];
  for (const each of batch) {
    const [row, record] = [rowOf.get(each.row.id), recordOf.get(each.row.id)];
    const isOther = row ? row.cid !== each.row.cid : record !== undefined && record.cid !== each.row.cid;
    if (isOther) setBack(each.row.cid, 'refused', 'another record has its id; that one stays', restoring);
    else (row ? present : fresh).push(each);
  }
  return { fresh, present };
}

/** What a node has and pins already is not sent to it again. */
async function pin(documents: readonly Proven[], { ipfs }: Restoring): Promise<void> {
  for (let from = 0; from < documents.length; from += PINNED_AT_ONCE) {
    await Promise.all(
      documents.slice(from, from + PINNED_AT_ONCE).map(async ({ row, bytes }) => {
        if (!(await ipfs.isPinned(row.cid))) await ipfs.pin(bytes, row.cid);
      }),
    );
  }
}

async function spareErased(batch: readonly Proven[], restoring: Restoring): Promise<Proven[]> {
  const owned = batch.map((each) => ({ userId: each.row.user_id, contextId: each.row.context_id, each }));
  const spared = new Set(await inReadTime(restoring.parts.erasures.spare(owned), restoring.parts));
  for (const owner of owned) {
    if (!spared.has(owner)) setBack(owner.each.row.cid, 'erased', 'its user or conversation was erased', restoring);
  }
  return [...spared].map(({ each }) => each);
}

async function remove(erased: readonly Proven[], { ipfs, parts }: Restoring): Promise<void> {
  for (const { row } of erased) await ipfs.unpin(row.cid);
  if (erased.length > 0) await parts.longTerm.memories.remove(erased.map(({ row }) => row.id));
}

function setBack(cid: string, outcome: Setback, reason: string, { result }: Restoring): null {
  result[outcome] += 1;
  if (result.failures.length < TOLD) result.failures.push({ cid, outcome, reason });
  return null;
}
