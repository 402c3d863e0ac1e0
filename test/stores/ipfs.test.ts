import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { freePort } from '../../embedded/free-port.ts';
import { startIpfs } from '../../embedded/ipfs.ts';
import { computeCid, Ipfs } from '../../shared/pinning/ipfs.ts';
import { eventually } from '../support/faults/eventually.ts';
import { type FaultProxy, startFaultProxy } from '../support/faults/fault-proxy.ts';
import { describeIpfsContract } from '../support/ipfs-contract.ts';

const { IPFS_API_URL } = process.env;
const hasKubo = spawnSync('ipfs', ['version']).status === 0;
const instead = IPFS_API_URL || hasKubo ? '' : ' (no Kubo here: neither IPFS_API_URL nor a program named ipfs)';

describeIpfsContract(`held by the embedded block store, which stands in for Kubo${instead}`, async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-ipfs-'));
  const node = await startIpfs(dir);
  return {
    url: node.url,
    async stop() {
      await node.stop();
      rmSync(dir, { recursive: true });
    },
  };
});
if (IPFS_API_URL) {
  describeIpfsContract('held by the node at IPFS_API_URL', async () => ({
    url: IPFS_API_URL,
    stop: async () => undefined,
  }));
} else if (hasKubo) {
  describeIpfsContract('held by the Kubo of this machine', startKubo);
}

/** An offline Kubo with a repository of its own, on free ports of loopback. */
async function startKubo(): Promise<{ url: string; stop(): Promise<void> }> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-kubo-'));
  const env = { ...process.env, IPFS_PATH: dir };
  const [api, gateway] = [await freePort(), await freePort()];
  spawnSync('ipfs', ['init', '--profile', 'test'], { env });
  spawnSync('ipfs', ['config', 'Addresses.API', `/ip4/127.0.0.1/tcp/${api}`], { env });
  spawnSync('ipfs', ['config', 'Addresses.Gateway', `/ip4/127.0.0.1/tcp/${gateway}`], { env });
  const daemon: ChildProcess = spawn('ipfs', ['daemon', '--offline'], { env, stdio: 'ignore' });
  const url = `http://127.0.0.1:${api}`;
  await eventually(() => new Ipfs(url, 1000).version().catch(() => null));
  return {
    url,
    async stop() {
      const exited = once(daemon, 'exit');
      daemon.kill();
      await exited;
      rmSync(dir, { recursive: true });
    },
  };
}

/** Of the empty file, which every implementation knows by heart. */
const EMPTY_CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
const TIMEOUT_MS = 500;
const FAULTS: [name: string, fault: ReturnType<FaultProxy['fault']>, answering: boolean][] = [
  ['hangs', 'hang', false],
  ['cuts the connection', 'reset', false],
  ['answers 500', { status: 500, body: { Message: 'merkledag: not found', Code: 0, Type: 'error' } }, false],
  ['answers a page of its proxy', { status: 502, headers: { 'content-type': 'text/html' } }, false],
  ['answers something else', { status: 200, body: { nothing: 'useful' } }, true],
];

describe.each(FAULTS)('a node that %s', (_name, fault, answering) => {
  let node: FaultProxy;
  let ipfs: Ipfs;
  beforeAll(async () => {
    node = await startFaultProxy('http://127.0.0.1:1');
    node.fault = () => fault;
    ipfs = new Ipfs(node.url, TIMEOUT_MS);
  });
  afterAll(() => node.stop());

  const calls: [name: string, call: () => Promise<unknown>][] = [
    ['pinning', () => ipfs.pin(new Uint8Array(), EMPTY_CID)],
    ['fetching', () => ipfs.fetch(EMPTY_CID, 1000)],
    ['asking for a pin', () => ipfs.isPinned(EMPTY_CID)],
    ['asking its version', () => ipfs.version()],
  ];
  // A file or a version can be anything, so only these can tell that an answer is none.
  const telling = answering ? calls.filter(([name]) => /pin/.test(name)) : calls;
  test.each(telling)('is unavailable to %s, within the time given', async (_call, call) => {
    const began = Date.now();
    await expect(call()).rejects.toMatchObject({ code: 'ipfs_unavailable' });
    expect(Date.now() - began).toBeLessThan(10 * TIMEOUT_MS);
  });
});

test('the CID of the empty file is the one everybody has for it', async () => {
  expect(await computeCid(new Uint8Array())).toBe(EMPTY_CID);
});
