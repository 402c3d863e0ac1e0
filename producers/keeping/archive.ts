import type { CID } from 'multiformats/cid';
import { z } from 'zod';
import { type ArchivedRow, createPage, PAGE_BYTES, PAGE_DOCUMENTS } from '../../shared/pinning/archive.ts';
import { isError, messageOf } from '../../shared/errors.ts';
import { type Block, type Ipfs, splitIntoBlocks } from '../../shared/pinning/ipfs.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { positionOf } from '../../shared/records/position.ts';
import { identifier } from '../../shared/identifiers.ts';
import { moment, toMoment } from '../../shared/moments.ts';
import { DOCUMENT_BYTES } from '../../shared/pinning/reflection-document.ts';
import { validate } from '../../shared/validate.ts';
import { ipfsNode } from '../reflections/ipfs-node.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { portionsOf } from '../parts/portions.ts';
import { inReadTime } from '../reading/reading.ts';

const ROWS_AT_ONCE = 100;
/** Documents fetched at once. Each of them may be DOCUMENT_BYTES long. */
const FETCHED_AT_ONCE = 4;

/** Exported because docs/calls.md is made from it. @public */
export const archiveOptions = z.strictObject({
  module: z.enum(['reflection', 'finetune', 'knowledge']).optional(),
  userId: identifier.optional(),
  contextId: identifier.optional(),
  from: moment.optional(),
  to: moment.optional(),
  withKeys: z.boolean().optional(),
});
export type ArchiveOptions = z.input<typeof archiveOptions>;

/** A document that could not be archived. */
export interface ArchiveFailure {
  cid: string;
  reason: string;
}

/** A part of an archive, in the order of the file. */
export interface ArchivePart {
  /** The page, which lists the documents, and the blocks of the documents. */
  blocks: Block[];
  /** The root of the file, when this is the last part. */
  root: CID;
  documents: number;
  failures: ArchiveFailure[];
}

/**
 * Pinned documents as the parts of a CAR file, oldest first, ties by id. The same rows always make the same file, which
 * has one part at least. `withKeys` adds what only the database knows: whose each record is, and the wrapped keys of
 * private ones. Nothing of an erased user or conversation is in the archive. Throws `ipfs_unavailable` when the node
 * goes away meanwhile.
 */
export function exportArchive(options: ArchiveOptions, parts: CallParts): AsyncIterableIterator<ArchivePart> {
  const { withKeys = false, ...filter } = validate(archiveOptions, options, 'the options');
  return archiveParts(fetchAll(filter, parts), withKeys);
}

/** How many documents there are to archive, for a progress bar. Records may come and go until the archive is made. */
export async function countArchive(options: ArchiveOptions, parts: CallParts): Promise<number> {
  const { withKeys: _any, ...filter } = validate(archiveOptions, options, 'the options');
  return inReadTime(parts.longTerm.reflections.count({ ...filter, pinned: true }), parts);
}

type Fetched = { row: ReflectionRow } & ({ blocks: Block[] } | { reason: string });

async function* archiveParts(documents: AsyncIterable<Fetched>, withKeys: boolean): AsyncIterableIterator<ArchivePart> {
  let held: { row: ReflectionRow; blocks: Block[] }[] = [];
  let failures: ArchiveFailure[] = [];
  let bytes = 0;
  let previous: CID | null = null;
  const end = async (): Promise<ArchivePart> => {
    const entries = held.map(({ row }) => ({ cid: row.cid, row: withKeys ? archivedRow(row) : null }));
    const page = await createPage(entries, previous);
    const part = {
      blocks: [page, ...held.flatMap((each) => each.blocks)],
      root: page.cid,
      documents: held.length,
      failures,
    };
    previous = page.cid;
    held = [];
    failures = [];
    bytes = 0;
    return part;
  };
  for await (const document of documents) {
    if ('reason' in document) {
      failures.push({ cid: document.row.cid, reason: document.reason });
      continue;
    }
    held.push(document);
    bytes += document.blocks.reduce((sum, block) => sum + block.bytes.length, 0);
    if (held.length === PAGE_DOCUMENTS || bytes >= PAGE_BYTES) yield end();
  }
  if (held.length > 0 || failures.length > 0 || previous === null) yield end();
}

async function* fetchAll(
  filter: Omit<z.output<typeof archiveOptions>, 'withKeys'>,
  parts: CallParts,
): AsyncGenerator<Fetched> {
  const ipfs = ipfsNode(parts.config);
  const rows = parts.longTerm.reflections;
  await ipfs.version(); // throws before anything is written when the node is away
  let position: string | null = null;
  for (;;) {
    const page: ReflectionRow[] = await inReadTime(
      rows.after({ ...filter, pinned: true }, position, ROWS_AT_ONCE),
      parts,
    );
    const last = page.at(-1);
    if (!last) return;
    const owned = page.map((row) => ({ userId: row.user_id, contextId: row.context_id, row }));
    const spared = await inReadTime(parts.erasures.spare(owned), parts);
    for (const portion of portionsOf(spared, FETCHED_AT_ONCE)) {
      yield* await Promise.all(portion.map(({ row }) => fetchOne(row, ipfs)));
    }
    position = positionOf({ id: last.id, createdAt: toMoment(last.created_at) });
  }
}

/**
 * Makes the blocks here, from the bytes, as the CID says. So it does not matter which blocks a node adds or leaves out.
 */
async function fetchOne(row: ReflectionRow, ipfs: Ipfs): Promise<Fetched> {
  try {
    const blocks = await splitIntoBlocks(await ipfs.fetch(row.cid, DOCUMENT_BYTES));
    const computed = blocks.at(-1)?.cid.toString();
    return computed === row.cid ? { row, blocks } : { row, reason: `the node answers bytes with CID ${computed}` };
  } catch (error) {
    if (isError(error, 'ipfs_unavailable')) await ipfs.version(); // throws when the node is away, and not the document alone is missing
    return { row, reason: messageOf(error) };
  }
}

function archivedRow(row: ReflectionRow): ArchivedRow {
  return {
    contextId: row.context_id,
    pinnedAt: toMoment(row.pinned_at ?? row.created_at),
    userId: row.user_id,
    wrappedKey: row.wrapped_key,
  };
}
