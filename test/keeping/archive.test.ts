import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CarReader, CarWriter } from '@ipld/car';
import { writeCar } from '../../cli/commands/keeping/car-file.ts';
import { type ArchiveOptions, MemoryCore, type ArchiveFailure } from '../../producers/index.ts';
import { type ArchivedDocument, createPage, readArchive } from '../../shared/pinning/archive.ts';
import { type Block, computeCid, Ipfs, splitIntoBlocks } from '../../shared/pinning/ipfs.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import { runCli } from '../support/clients/cli.ts';
import { runCommand } from '../support/clients/command.ts';
import { startFaultProxy } from '../support/faults/fault-proxy.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';

const WAIT = { wait: true } as const;
/** Its blocks but the first and the last are the same. */
const LONG = 'sixteen letters '.repeat(65_536);
const SCRIPT = path.join(import.meta.dirname, '../../examples/verify-car.mjs');

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-car-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** As somebody without Mnemoq would run it. */
async function verifyOffline(file: string, ...keys: string[]): Promise<{ code: number | null; lines: string[] }> {
  const { code, stdout } = await runCli([file, ...keys], { main: SCRIPT });
  return { code, lines: stdout.trimEnd().split('\n') };
}

describe.each([CHOSEN_SUPABASE])('pinned documents on the %s Supabase', (supabase) => {
  let stack: Stack;
  let key: string;
  const userId = randomUUID();
  const cids: string[] = [];
  beforeAll(async () => {
    stack = await startStack({ supabase });
    key = new Signer(Buffer.from(stack.environment['MEMORY_SIGNING_KEY'] ?? '', 'base64')).publicKey;
    await stack.startWorkers('reflection');
    const contextId = stack.newContextId();
    const save = { contextId, userId };
    const receipts = [
      await stack.memory.saveReflection({ ...save, reflectionText: '下次先問清楚預算。' }, WAIT),
      await stack.memory.saveKnowledge({ ...save, text: 'Water boils at 100 °C.' }, WAIT),
      await stack.memory.saveFinetuneOutput({ ...save, text: LONG, visibility: 'public' }, WAIT),
    ];
    cids.push(...receipts.map(({ cid }) => cid ?? ''));
  });
  afterAll(() => stack.stop());

  const fileOf = (name: string) => path.join(dir, `${supabase}-${name}.car`);
  const exportCar = async (name: string, options: ArchiveOptions = {}) => {
    const file = fileOf(name);
    const missing: ArchiveFailure[] = [];
    const parts = stack.memory.exportArchive({ userId, ...options });
    const root = await writeCar(file, parts, (part) => missing.push(...part.failures));
    return { file, root, missing };
  };
  const exportByCommand = async (name: string, ...more: string[]) =>
    runCommand(['export', '--car', fileOf(name), '--user', userId, ...more], { environment: stack.environment });

  test('are archived whole, in order, the same file each time, readable by anybody’s CAR reader', async () => {
    const { code, stdout, stderr } = await exportByCommand('whole');
    const file = fileOf('whole');
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^exporting +3\/3\n3 documents written\n$/)]);
    const car = await CarReader.fromBytes(readFileSync(file));
    expect((await car.getRoots()).map(String)).toEqual([stdout.trim()]);
    const archived = await Array.fromAsync(readArchive(chunksOf(file)));
    expect(archived.map(({ cid }) => cid)).toEqual(cids);
    for (const { cid, bytes } of archived) expect(await computeCid(bytes ?? new Uint8Array())).toBe(cid);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const again = await exportCar('again');
    expect(readFileSync(again.file).equals(readFileSync(file))).toBe(true);
    const text = readFileSync(file, 'latin1');
    expect([text.includes(userId), text.includes('v1.k1.')]).toEqual([false, false]);
    const withKeys = readFileSync((await exportCar('keys', { withKeys: true })).file, 'latin1');
    expect([withKeys.includes(userId), withKeys.includes('v1.k1.')]).toEqual([true, true]);
  });

  test('are verified offline by a script with public libraries alone', async () => {
    const { file } = await exportCar('good');
    expect(await verifyOffline(file, key)).toEqual({
      code: 0,
      lines: [
        expect.stringMatching(`^ok  ${cids[0]} private reflection of 20`),
        expect.stringMatching(`^ok  ${cids[1]} public knowledge of 20`),
        expect.stringMatching(`^ok  ${cids[2]} public finetune of 20`),
      ],
    });
    const other = new Signer(randomBytes(32)).publicKey;
    const foreign = await verifyOffline(file, other);
    const lines = cids.map((cid) => `BAD ${cid} it is signed by another key, ${key}`);
    expect(foreign).toEqual({ code: 1, lines });
    expect((await verifyOffline(file, other, key)).code).toBe(0);
  });

  test('with a byte flipped, wherever it is, are refused by the script', async () => {
    const { file } = await exportCar('flipped');
    const bytes = readFileSync(file);
    const text = bytes.indexOf('boils');
    const places = [0, bytes.indexOf('"documents"'), text, Math.floor(bytes.length / 2), bytes.length - 1];
    for (const place of places) {
      writeFileSync(file, bytes.with(place, (bytes[place] ?? 0) ^ 1));
      const { code, lines } = await verifyOffline(file, key);
      expect([place, code]).toEqual([place, 1]);
      if (place !== text) continue;
      expect(lines[1]).toBe(`BAD ${cids[1]} a block is missing or altered`);
      expect([lines[0], lines[2]]).toEqual([expect.stringMatching(/^ok /), expect.stringMatching(/^ok /)]);
    }
  });

  test('that the node has lost are told, and the rest is archived', async () => {
    const ipfs = new Ipfs(stack.ipfs.url, 10_000);
    const bytes = await ipfs.fetch(cids[1] ?? '', 10_000);
    await ipfs.unpin(cids[1] ?? '');
    const { code, stderr } = await exportByCommand('lacking');
    await ipfs.pin(bytes, cids[1] ?? '');
    expect(code).toBe(1);
    expect(stderr).toContain(`2 documents written\n${cids[1]} is missing: fetching ${cids[1]} on IPFS failed`);
    expect(stderr).toMatch(/error: 1 pinned document could not be fetched\n$/);
    const archived = await Array.fromAsync(readArchive(chunksOf(fileOf('lacking'))));
    expect(archived.map(({ cid }) => cid)).toEqual([cids[0], cids[2]]);
  });

  test('no file is kept of a node that goes away, and none is written over', async () => {
    const node = await startFaultProxy(stack.ipfs.url);
    const memory = new MemoryCore({ ...stack.environment, IPFS_API_URL: node.url });
    node.fault = () => (node.requests.length > 2 ? 'reset' : null);
    const away = writeCar(fileOf('away'), memory.exportArchive({ userId }), () => undefined);
    await expect(away).rejects.toMatchObject({ code: 'ipfs_unavailable' });
    expect(existsSync(fileOf('away'))).toBe(false);
    await memory.close();
    await node.stop();
    const { file } = await exportCar('there', { module: 'knowledge' });
    const before = readFileSync(file);
    await expect(exportCar('there')).rejects.toMatchObject({ code: 'EEXIST' });
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(() => stack.memory.exportArchive({ module: 'chat' as never })).toThrow('module: expected one of');
    const { file: empty } = await exportCar('empty', { from: '9000-01-01T00:00:00Z' });
    expect(await Array.fromAsync(readArchive(chunksOf(empty)))).toEqual([]);
  });
});

describe('an archive', () => {
  const documentOf = async (text: string) => {
    const blocks = await splitIntoBlocks(new TextEncoder().encode(text));
    return { cid: String(blocks.at(-1)?.cid), row: null, blocks };
  };
  const carOf = async (root: Block['cid'], blocks: readonly Block[]) => {
    const { writer, out } = CarWriter.create([root]);
    const chunks = Array.fromAsync(out);
    for (const block of blocks) await writer.put(block);
    await writer.close();
    return Buffer.concat(await chunks);
  };
  const readAll = async (car: Uint8Array) => {
    const read: ArchivedDocument[] = [];
    let error = '';
    try {
      for await (const document of readArchive(one(car))) read.push(document);
    } catch (thrown) {
      error = (thrown as Error).message;
    }
    return { texts: read.map(({ bytes }) => bytes && Buffer.from(bytes).toString().slice(0, 10)), error };
  };
  const pagesOf = async () => {
    const documents = await Promise.all([`one ${LONG}`, 'two', 'three', 'four'].map(documentOf));
    const first = await createPage(documents.slice(0, 2), null);
    const second = await createPage(documents.slice(2), first.cid);
    return { first, second, blocks: documents.map(({ blocks }) => blocks) };
  };

  test('is read in the order of the file, also in that of an IPFS node that exports its root', async () => {
    const { first, second, blocks } = await pagesOf();
    const [one = [], two = [], three = [], four = []] = blocks;
    const ours = await carOf(second.cid, [first, ...one, ...two, second, ...three, ...four]);
    expect(await readAll(ours)).toEqual({ texts: ['one sixtee', 'two', 'three', 'four'], error: '' });
    const nodes = await carOf(second.cid, [second, ...three, ...four, first, ...one.toReversed(), ...two]);
    expect(await readAll(nodes)).toEqual({ texts: ['three', 'four', 'one sixtee', 'two'], error: '' });
  });

  test('gives what is there of one that is cut off, and says that it is', async () => {
    const { first, second, blocks } = await pagesOf();
    const [one = [], two = [], three = [], four = []] = blocks;
    const unfinished = await carOf(second.cid, [first, ...one, ...two]);
    expect(await readAll(unfinished)).toEqual({
      texts: ['one sixtee', 'two'],
      error: expect.stringMatching(/cut off/),
    });
    const whole = await carOf(second.cid, [first, ...one, ...two, second, ...three, ...four]);
    const cut = await readAll(whole.subarray(0, -2));
    expect(cut).toEqual({ texts: ['one sixtee', 'two'], error: expect.stringMatching(/expected a CAR file/) });
    const lacking = await carOf(second.cid, [second, ...three, ...four]);
    expect((await readAll(lacking)).error).toMatch(/lacks some/);
    const holed = await carOf(second.cid, [first, ...one.slice(1), ...two, second, ...three, ...four]);
    expect(await readAll(holed)).toEqual({ texts: [null, 'two', 'three', 'four'], error: '' });
  });

  test('may be a CAR file of documents alone, as a node exports one', async () => {
    const { blocks, cid } = await documentOf(`alone ${LONG}`);
    const car = await carOf((blocks.at(-1) as Block).cid, blocks.toReversed());
    expect([await readAll(car), cid]).toEqual([{ texts: ['alone sixt'], error: '' }, cid]);
  });

  test('is refused where a page is altered or is none, and where it is no archive at all', async () => {
    const { first, second } = await pagesOf();
    const altered = { cid: first.cid, bytes: second.bytes };
    expect((await readAll(await carOf(first.cid, [altered]))).error).toContain(`a page with CID ${String(first.cid)}`);
    expect((await readAll(randomBytes(100))).error).toContain('expected a CAR file');
    expect((await readAll(new Uint8Array())).error).toContain('expected a CAR file');
  });
});

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function chunksOf(file: string): AsyncIterable<Uint8Array> {
  return one(readFileSync(file));
}
