/**
 * **shared/pinning/**: the documents on IPFS: what they say, how their CIDs come about, archives of them, and what a document
 * from elsewhere must prove.
 */
import { BlackHoleBlockstore } from 'blockstore-core';
import { create, type KuboRPCClient } from 'ipfs-http-client';
import { fixedSize } from 'ipfs-unixfs-importer/chunker';
import { importBytes } from 'ipfs-unixfs-importer';
import { balanced } from 'ipfs-unixfs-importer/layout';
import { CID } from 'multiformats/cid';
import { MnemoqError, messageOf } from '../errors.ts';

/** Kubo's own defaults for `add`. They are spelled out so that the CID does not change with the configuration of a node. */
const CHUNK_BYTES = 262_144;
const LINKS_PER_NODE = 174;
const ADD_OPTIONS = { cidVersion: 1, rawLeaves: true, chunker: `size-${CHUNK_BYTES}` } as const;

/** The same for the importer, which has names of its own for them. */
export const IMPORT_OPTIONS = {
  cidVersion: 1,
  rawLeaves: true,
  wrapWithDirectory: false,
  chunker: fixedSize({ chunkSize: CHUNK_BYTES }),
  layout: balanced({ maxChildrenPerNode: LINKS_PER_NODE }),
} as const;

/** The CID that a file will have. It is computed here, and nothing is stored. */
export async function computeCid(bytes: Uint8Array): Promise<string> {
  const { cid } = await importBytes(bytes, new BlackHoleBlockstore(), IMPORT_OPTIONS);
  return cid.toString();
}

/** One block of a file, or of an archive. */
export interface Block {
  cid: CID;
  bytes: Uint8Array;
}

/** The blocks as which a file is stored, each of them once. The last one has the CID of the file. */
export async function splitIntoBlocks(bytes: Uint8Array): Promise<Block[]> {
  const blocks = new Map<string, Block>();
  const put = async (cid: CID, block: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<CID> => {
    blocks.set(cid.toString(), { cid, bytes: block as Uint8Array }); // the importer gives every block whole
    return cid;
  };
  await importBytes(bytes, { put }, IMPORT_OPTIONS);
  return [...blocks.values()];
}

export function isCid(value: string): boolean {
  try {
    return CID.parse(value).toString() === value;
  } catch {
    return false;
  }
}

/** An IPFS node behind Kubo's RPC API: Kubo itself, a cluster, or the embedded block store. */
export class Ipfs {
  readonly #client: KuboRPCClient;
  readonly #timeoutMs: number;

  constructor(apiUrl: string, timeoutMs: number) {
    this.#client = create({ url: new URL(apiUrl) });
    this.#timeoutMs = timeoutMs;
  }

  /** Stores and pins a file. Throws `cid_mismatch` when the node answers with another CID than `expectedCid`. */
  async pin(bytes: Uint8Array, expectedCid: string): Promise<void> {
    const { cid } = await this.#ask('pinning', (signal) =>
      this.#client.add(bytes, { ...ADD_OPTIONS, pin: true, signal }),
    );
    if (cid.toString() !== expectedCid) {
      throw new MnemoqError(
        'cid_mismatch',
        `the IPFS node answered CID ${cid.toString()}, computed was ${expectedCid}`,
      );
    }
  }

  /** Fetches a whole file of at most `maxBytes`, because nobody knows how much is behind a CID. */
  async fetch(cid: string, maxBytes: number): Promise<Uint8Array> {
    return this.#ask(`fetching ${cid}`, async (signal) => {
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of this.#client.cat(cid, { signal })) {
        size += chunk.length;
        if (size > maxBytes) throw tooLarge(cid, maxBytes);
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    });
  }

  /** Lets the node forget a file. False when the file was not pinned. */
  async unpin(cid: string): Promise<boolean> {
    return this.#ask(`unpinning ${cid}`, async (signal) => {
      try {
        await this.#client.pin.rm(CID.parse(cid), { signal });
        return true;
      } catch (error) {
        if (/not pinned/.test(messageOf(error))) return false; // Kubo says so when there is nothing to do
        throw error;
      }
    });
  }

  async isPinned(cid: string): Promise<boolean> {
    return this.#ask(`looking for the pin of ${cid}`, async (signal) => {
      try {
        for await (const _pin of this.#client.pin.ls({ paths: CID.parse(cid), signal })) return true;
      } catch (error) {
        if (!/not pinned/.test(messageOf(error))) throw error; // Kubo says so when the answer is no
      }
      return false;
    });
  }

  /** The version of the node. */
  async version(): Promise<string> {
    return this.#ask('asking its version', async (signal) => (await this.#client.version({ signal })).version);
  }

  /** Every call gets a signal, because the client's own `timeout` option does nothing (kubo-rpc-client 7.1). */
  async #ask<T>(doing: string, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await call(AbortSignal.timeout(this.#timeoutMs));
    } catch (error) {
      if (error instanceof MnemoqError) throw error;
      throw new MnemoqError('ipfs_unavailable', `${doing} on IPFS failed: ${messageOf(error)}`, { cause: error });
    }
  }
}

/** The error for a file that is not wanted. It is not `ipfs_unavailable`, because the node is there and answers. */
function tooLarge(cid: string, maxBytes: number): MnemoqError {
  const problem = { field: 'size', expected: `at most ${maxBytes} bytes`, received: 'more' };
  return new MnemoqError('unverified', `${cid} is larger than ${maxBytes} bytes`, { problems: [problem] });
}
