import { CarBlockIterator } from '@ipld/car';
import * as dagPb from '@ipld/dag-pb';
import canonicalize from 'canonicalize';
import { CID } from 'multiformats/cid';
import { sha256 } from 'multiformats/hashes/sha2';
import { z } from 'zod';
import { MnemoqError, messageOf } from '../errors.ts';
import { type Block, isCid } from './ipfs.ts';
import { identifier } from '../identifiers.ts';
import { moment } from '../moments.ts';
import { DOCUMENT_BYTES } from './reflection-document.ts';
import { validate } from '../validate.ts';

/**
 * An archive of pinned documents is a CARv1 file: pages, each followed by the blocks of the documents that it names. A page is
 * a DAG-JSON block that links its documents and the page before it. So the root, which is the last page, leads to every block,
 * and a node that imports the file keeps all of it by pinning the root. docs/provenance.md describes the format for others.
 */
const DAG_JSON = 0x0129; // https://github.com/multiformats/multicodec/blob/master/table.csv

/**
 * The most documents of a page. With all that is known of each, a page stays below the 1 MiB that nodes take as a block.
 */
export const PAGE_DOCUMENTS = 250;
/** A page ends after so many bytes of documents. That much, and one document more, is in memory at once. */
export const PAGE_BYTES = 8 * 1024 * 1024;
/** How much is held in memory of a file whose pages are further apart, as in a file of documents without pages. */
const HELD_BYTES = 64 * 1024 * 1024;

/** The most blocks that are read for one document: many more than a document of DOCUMENT_BYTES has. */
const DOCUMENT_BLOCKS = 1_000;

const link = z.strictObject({ '/': z.string().max(200).refine(isCid, 'a CID') });
/** What only the database knows of a record. The key stays wrapped by MEMORY_ENCRYPTION_KEYS. */
const archivedRow = z.strictObject({
  contextId: identifier,
  pinnedAt: moment,
  userId: identifier.nullable(),
  wrappedKey: z.string().max(1000).nullable(),
});
export type ArchivedRow = z.infer<typeof archivedRow>;
const pageContent = z.strictObject({
  documents: z.array(z.strictObject({ cid: link, row: archivedRow.optional() })),
  previous: link.nullable(),
  version: z.literal(1),
});

/** A document on a page of an archive. */
export interface ArchiveEntry {
  cid: string;
  row: ArchivedRow | null;
}

/** A document as it is read from an archive. */
export interface ArchivedDocument extends ArchiveEntry {
  /** Not checked yet. Null when not all of its blocks are there. */
  bytes: Uint8Array | null;
}

export async function createPage(entries: readonly ArchiveEntry[], previous: CID | null): Promise<Block> {
  const content = {
    documents: entries.map(({ cid, row }) => ({ cid: { '/': cid }, ...(row && { row }) })),
    previous: previous && { '/': previous.toString() },
    version: 1,
  };
  // DAG-JSON is JSON without white space and with its keys in order: https://ipld.io/specs/codecs/dag-json/spec/
  return blockOf(new TextEncoder().encode(canonicalize(content)));
}

async function blockOf(bytes: Uint8Array): Promise<Block> {
  return { cid: CID.createV1(DAG_JSON, await sha256.digest(bytes)), bytes };
}

/**
 * The documents of an archive in the order of the file, or those that are the roots of a CAR file without pages. Throws
 * `invalid_input` for what is no such file, and at the end for a file that is cut off or lacks a page. The documents that came
 * before may be used all the same.
 */
export async function* readArchive(source: AsyncIterable<Uint8Array>): AsyncGenerator<ArchivedDocument> {
  const car = await orWrong(CarBlockIterator.fromIterable(source));
  const roots = await car.getRoots();
  const lacking = new Set(roots.filter(isPage).map(String));
  const seen = new Set<string>();
  let entries: ArchiveEntry[] = roots
    .filter((root) => !isPage(root))
    .map((root) => ({ cid: root.toString(), row: null }));
  let held = new Held();
  const blocks = car[Symbol.asyncIterator]();
  for (let next = await orWrong(blocks.next()); !next.done; next = await orWrong(blocks.next())) {
    const { cid, bytes } = next.value;
    if (!isPage(cid)) {
      held.add(cid, bytes);
      continue;
    }
    yield* assemble(entries, held);
    held = new Held();
    const page = await readPage(cid, bytes);
    seen.add(cid.toString());
    if (page.previous) lacking.add(page.previous['/']);
    entries = page.documents.map(({ cid: document, row }) => ({ cid: document['/'], row: row ?? null }));
  }
  yield* assemble(entries, held);
  if ([...lacking].some((page) => !seen.has(page)))
    throw wrong('all of its pages', 'a file that lacks some: it is cut off or not finished');
}

/** The blocks that came since the last page. */
class Held {
  readonly #blocks = new Map<string, Uint8Array>();
  #bytes = 0;

  add(cid: CID, bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    if (this.#bytes > HELD_BYTES) throw wrong(`at most ${HELD_BYTES} bytes between two pages`, 'more');
    this.#blocks.set(cid.toString(), bytes);
  }

  get(cid: CID): Uint8Array | undefined {
    return this.#blocks.get(cid.toString());
  }
}

function* assemble(entries: readonly ArchiveEntry[], held: Held): Generator<ArchivedDocument> {
  for (const entry of entries) yield { ...entry, bytes: contentOf(CID.parse(entry.cid), held) };
}

/**
 * The leaves of a document in the order of the links that lead to them; null where not all of them are there. Whether they are
 * the document is for its CID to tell. Links may lead anywhere, and to the same block a thousand times, so the blocks are
 * counted.
 */
function contentOf(document: CID, held: Held): Uint8Array | null {
  const chunks: Uint8Array[] = [];
  let [size, blocks] = [0, 0];
  const read = (cid: CID): boolean => {
    const bytes = held.get(cid);
    blocks += 1;
    if (!bytes || blocks > DOCUMENT_BLOCKS) return false;
    if (cid.code === dagPb.code) return linksOf(bytes).every(read);
    chunks.push(bytes);
    size += bytes.length;
    return size <= DOCUMENT_BYTES;
  };
  return read(document) ? Buffer.concat(chunks) : null;
}

function linksOf(bytes: Uint8Array): CID[] {
  try {
    return dagPb.decode(bytes).Links.map(({ Hash }) => Hash);
  } catch {
    return []; // an altered block does not lead to the document
  }
}

async function readPage(cid: CID, bytes: Uint8Array): Promise<z.infer<typeof pageContent>> {
  const [named, computed] = [cid.toString(), (await blockOf(bytes)).cid.toString()];
  if (computed !== named) throw wrong(`a page with CID ${named}`, `bytes with CID ${computed}`);
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw wrong('a page of DAG-JSON', 'something else');
  }
  return validate(pageContent, content, 'a page of the archive');
}

function isPage({ code }: CID): boolean {
  return code === DAG_JSON;
}

/** Names what the reader of the CAR file, or the file itself, throws. */
async function orWrong<T>(reading: Promise<T>): Promise<T> {
  return reading.catch((error) => {
    throw wrong('a CAR file', messageOf(error));
  });
}

function wrong(expected: string, received: string): MnemoqError {
  const problems = [{ field: 'the archive', expected, received }];
  return new MnemoqError('invalid_input', `the archive: expected ${expected}, received ${received}`, { problems });
}
