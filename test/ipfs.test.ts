import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { freePort } from '../embedded/free-port.ts';
import { startIpfs } from '../embedded/ipfs.ts';
import { Ipfs } from '../shared/ipfs.ts';
import { eventually } from './support/eventually.ts';
import { startFaultProxy } from './support/fault-proxy.ts';
import { describeIpfsContract } from './support/ipfs-contract.ts';

describeIpfsContract('held by the embedded block store, which stands in for Kubo', async () => {
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

const { IPFS_API_URL } = process.env;
if (IPFS_API_URL) {
  describeIpfsContract('held by the node at IPFS_API_URL', async () => ({
    url: IPFS_API_URL,
    stop: async () => undefined,
  }));
} else if (spawnSync('ipfs', ['version']).status === 0) {
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

test.each([
  ['hangs', 'hang' as const],
  ['cuts the connection', 'reset' as const],
  ['answers 500', { status: 500, body: { Message: 'merkledag: not found', Code: 0, Type: 'error' } }],
  ['answers something else', { status: 200, body: { nothing: 'useful' } }],
])('a node that %s is unavailable, within the time given', async (_name, fault) => {
  const node = await startFaultProxy('http://127.0.0.1:1');
  node.fault = () => fault;
  const ipfs = new Ipfs(node.url, 500);
  await expect(
    ipfs.pin(new Uint8Array([1]), 'bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy'),
  ).rejects.toMatchObject({
    code: 'ipfs_unavailable',
  });
  await node.stop();
});
