/**
 * **test/support/**: what several tests need. No test is in here.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { computeCid, Ipfs } from '../../shared/pinning/ipfs.ts';

/** What Mnemoq expects of an IPFS node behind Kubo's RPC, whichever it is. */
export function describeIpfsContract(name: string, start: () => Promise<{ url: string; stop(): Promise<void> }>): void {
  describe(`the contract of an IPFS node, ${name}`, () => {
    let node: { url: string; stop(): Promise<void> };
    let ipfs: Ipfs;
    beforeAll(async () => {
      node = await start();
      ipfs = new Ipfs(node.url, 10_000);
    });
    afterAll(() => node.stop());

    // Around the chunk size, where one block becomes a tree.
    test.each([1, 1000, 262_144, 262_145, 1_000_000])(
      'a file of %d bytes has the CID computed here, comes back and is pinned',
      async (size) => {
        const bytes = new Uint8Array(randomBytes(size));
        const cid = await computeCid(bytes);
        expect(await ipfs.isPinned(cid)).toBe(false);
        await ipfs.pin(bytes, cid);
        expect(Buffer.compare(await ipfs.fetch(cid, size), bytes)).toBe(0);
        expect(await ipfs.isPinned(cid)).toBe(true);
      },
    );

    test('an empty file too', async () => {
      const empty = new Uint8Array();
      const cid = await computeCid(empty);
      await ipfs.pin(empty, cid);
      expect(await ipfs.fetch(cid, 0)).toHaveLength(0);
      expect(await ipfs.isPinned(cid)).toBe(true);
    });

    test('what is kept is what was given: other bytes of the same length have another CID', async () => {
      const [a, b] = [new Uint8Array(300_000).fill(1), new Uint8Array(300_000).fill(2)];
      const [cidA, cidB] = [await computeCid(a), await computeCid(b)];
      expect(cidA).not.toBe(cidB);
      await Promise.all([ipfs.pin(a, cidA), ipfs.pin(b, cidB)]);
      expect((await ipfs.fetch(cidA, 300_000))[299_999]).toBe(1);
      expect((await ipfs.fetch(cidB, 300_000))[299_999]).toBe(2);
    });

    test('pinning again changes nothing', async () => {
      const bytes = new Uint8Array(randomBytes(100));
      const cid = await computeCid(bytes);
      await ipfs.pin(bytes, cid);
      await ipfs.pin(bytes, cid);
      expect(Buffer.compare(await ipfs.fetch(cid, 100), bytes)).toBe(0);
    });

    test('another CID than the expected one is an error', async () => {
      const expected = await computeCid(new Uint8Array(randomBytes(10)));
      await expect(ipfs.pin(new Uint8Array(randomBytes(10)), expected)).rejects.toMatchObject({ code: 'cid_mismatch' });
    });

    test('a file that nobody has is an error within the time given', async () => {
      const impatient = new Ipfs(node.url, 1_000);
      const cid = await computeCid(new Uint8Array(randomBytes(10)));
      await expect(impatient.fetch(cid, 100)).rejects.toMatchObject({ code: 'ipfs_unavailable' });
    });

    test('no more is read than allowed', async () => {
      const bytes = new Uint8Array(randomBytes(5000));
      const cid = await computeCid(bytes);
      await ipfs.pin(bytes, cid);
      await expect(ipfs.fetch(cid, 4999)).rejects.toThrow('larger than 4999 bytes');
    });

    test('tells its version', async () => {
      expect(await ipfs.version()).not.toBe('');
    });
  });
}
