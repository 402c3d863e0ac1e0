import { MnemoqError } from '../../shared/errors.ts';
import type { Ipfs } from '../../shared/pinning/ipfs.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { portionsOf } from '../parts/portions.ts';
import { inReadTime } from '../reading/reading.ts';
import type { ProvenDocument, Unproven } from './proven-document.ts';

/** Uploads to the IPFS node at once. */
const PINNED_AT_ONCE = 4;
/** Documents that are told one by one. Further ones are only counted. */
const TOLD = 100;

/** What became of a document that was not restored. */
type Setback = Unproven['outcome'] | 'erased';

/** How many documents were read, and what became of each. */
export interface DocumentRestoration extends Record<Setback, number> {
  documents: number;
  restored: number;
  /** How many had their row already. */
  present: number;
  /** The first 100 documents that were not restored, and why. Documents of the erased are among them, and are no fault. */
  failures: { cid: string; outcome: Setback; reason: string }[];
}

/** What writing works with. It counts into `result`. */
export interface Restoring {
  parts: CallParts;
  ipfs: Ipfs;
  result: DocumentRestoration;
}

/** Counts a document that is not restored. */
export function setBack(cid: string, outcome: Setback, reason: string, result: DocumentRestoration): void {
  result[outcome] += 1;
  if (result.failures.length < TOLD) result.failures.push({ cid, outcome, reason });
}

/**
 * Writes the records first, then pins the documents, then writes the rows of `memory_reflections`, because such a row
 * says that its document is pinned. An erasure that begins after the first look at the erasures removes what is written
 * by then. What is written after that, the second look finds, and it is removed here.
 */
export async function writeBatch(batch: readonly ProvenDocument[], restoring: Restoring): Promise<void> {
  const { fresh, present } = await compare(await spareErased(batch, restoring), restoring);
  const failure = await write(fresh, present, restoring).then(
    () => null,
    (error: unknown) => error,
  );
  const kept = await spareErased(fresh, restoring);
  const erased = fresh.filter((each) => !kept.includes(each));
  await remove(erased, restoring);
  if (failure !== null && erased.length > 0) return writeBatch([...kept, ...present], restoring); // the erased ones may be what made writing fail
  if (failure !== null) throw failure;
  restoring.result.restored += kept.length;
  restoring.result.present += present.length;
}

async function write(
  fresh: readonly ProvenDocument[],
  present: readonly ProvenDocument[],
  restoring: Restoring,
): Promise<void> {
  const { longTerm, shortTerm } = restoring.parts;
  const { failure } = await longTerm.memories.insert(fresh.map(({ record }) => record));
  if (failure) throw new MnemoqError('supabase_unavailable', `restoring failed: ${failure.code} ${failure.message}`);
  const conversations = new Set(fresh.map(({ record }) => record.contextId));
  await Promise.all([...conversations].map((contextId) => shortTerm.forgetFloor(contextId)));
  await pin([...fresh, ...present], restoring);
  await longTerm.reflections.add(fresh.map(({ row }) => row));
}

/**
 * Parts the documents into those that are new and those that have their row already. A document whose id another record
 * has is refused.
 */
async function compare(
  batch: readonly ProvenDocument[],
  restoring: Restoring,
): Promise<{ fresh: ProvenDocument[]; present: ProvenDocument[] }> {
  const ids = batch.map(({ row }) => row.id);
  const { longTerm } = restoring.parts;
  const [rows, records] = await inReadTime(
    Promise.all([longTerm.reflections.findMany(ids), longTerm.memories.findMany(ids)]),
    restoring.parts,
  );
  const rowOf = new Map(rows.map((row) => [row.id, row]));
  const recordOf = new Map(records.map((record) => [record.id, record]));
  const [fresh, present]: [ProvenDocument[], ProvenDocument[]] = [[], []];
  for (const each of batch) {
    const [row, record] = [rowOf.get(each.row.id), recordOf.get(each.row.id)];
    const isOther = row ? row.cid !== each.row.cid : record !== undefined && record.cid !== each.row.cid;
    if (isOther) setBack(each.row.cid, 'refused', 'another record has its id; that one stays', restoring.result);
    else (row ? present : fresh).push(each);
  }
  return { fresh, present };
}

/** Sends to the node only the documents that it does not pin already. */
async function pin(documents: readonly ProvenDocument[], { ipfs }: Restoring): Promise<void> {
  for (const portion of portionsOf(documents, PINNED_AT_ONCE)) {
    await Promise.all(
      portion.map(async ({ row, bytes }) => {
        if (!(await ipfs.isPinned(row.cid))) await ipfs.pin(bytes, row.cid);
      }),
    );
  }
}

async function spareErased(batch: readonly ProvenDocument[], restoring: Restoring): Promise<ProvenDocument[]> {
  const owned = batch.map((each) => ({ userId: each.row.user_id, contextId: each.row.context_id, each }));
  const spared = new Set(await inReadTime(restoring.parts.erasures.spare(owned), restoring.parts));
  for (const owner of owned) {
    if (!spared.has(owner))
      setBack(owner.each.row.cid, 'erased', 'its user or conversation was erased', restoring.result);
  }
  return [...spared].map(({ each }) => each);
}

async function remove(erased: readonly ProvenDocument[], { ipfs, parts }: Restoring): Promise<void> {
  for (const { row } of erased) await ipfs.unpin(row.cid);
  if (erased.length > 0) await parts.longTerm.memories.remove(erased.map(({ row }) => row.id));
}
