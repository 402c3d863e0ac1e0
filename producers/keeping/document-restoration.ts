import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import type { ArchivedDocument } from '../../shared/pinning/archive.ts';
import { DOCUMENT_BYTES } from '../../shared/pinning/reflection-document.ts';
import { ownPublicKeys } from '../../shared/secrets/signing.ts';
import { listOf, validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { progressHandler } from '../parts/progress.ts';
import { ipfsNode } from '../reflections/ipfs-node.ts';
import { publicKey } from '../reflections/knowledge-import.ts';
import { cidText } from '../reflections/reflections.ts';
import { prove, type ProvenDocument } from './proven-document.ts';
import { type DocumentRestoration, setBack, writeBatch } from './restored-rows.ts';

/** Records written at once. */
const BATCH = 50;
/** Bytes of documents after which a batch is written. So many bytes, and one document more, are in memory at once. */
const BATCH_BYTES = 8 * 1024 * 1024;

/** Exported because docs/calls.md is made from it. @public */
export const restorationOptions = z.strictObject({
  trustedKeys: listOf(publicKey, 100).optional(),
  onProgress: progressHandler<DocumentRestoration>().optional(),
});
export type ArchiveRestorationOptions = z.input<typeof restorationOptions>;

/**
 * Makes the rows of both tables again from documents, and pins the documents here. Each document is checked from its
 * CID to its text, and must be signed by this Mnemoq or by one of the trusted keys. A private document is restored when
 * its wrapped key comes along and can be opened. Nothing of an erased user or conversation is restored. Rows that are
 * there stay as they are, so a restoration may run again, and while others work.
 */
export async function restoreDocuments(
  documents: AsyncIterable<ArchivedDocument>,
  options: ArchiveRestorationOptions,
  parts: CallParts,
): Promise<DocumentRestoration> {
  const { trustedKeys = [], onProgress } = validate(restorationOptions, options, 'the options');
  const trusted = [...trustedKeys, ...(ownPublicKeys(parts.config) ?? [])];
  if (trusted.length === 0) {
    const expected = 'the key that signed the documents, or trusted keys beside it';
    throw new MnemoqError('invalid_configuration', `MEMORY_SIGNING_KEY: expected ${expected}, found nothing`);
  }
  const result: DocumentRestoration = {
    documents: 0,
    restored: 0,
    present: 0,
    missing: 0,
    refused: 0,
    unreadable: 0,
    erased: 0,
    failures: [],
  };
  const restoring = { parts, ipfs: ipfsNode(parts.config), result };
  let batch: ProvenDocument[] = [];
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
      const proven = await prove(document, trusted, parts);
      if ('outcome' in proven) {
        setBack(document.cid, proven.outcome, proven.reason, result);
        continue;
      }
      batch.push(proven);
      bytes += proven.bytes.length;
      if (batch.length === BATCH || bytes >= BATCH_BYTES) await write();
    }
  } finally {
    await write(); // also after the source has failed: what came before is whole
  }
  return result;
}

/** The documents behind some CIDs, as the IPFS node has them. Throws `ipfs_unavailable` when the node is away. */
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
