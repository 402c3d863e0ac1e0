import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../../embedded/free-port.ts';
import { Ipfs } from '../../shared/pinning/ipfs.ts';
import { eventually } from '../support/faults/eventually.ts';
import { describeIpfsContract } from '../support/ipfs-contract.ts';
import { npmProgram, run, start } from './support/programs.ts';

const JSIPFS = npmProgram('jsipfs', 'js-ipfs');

// js-ipfs is not developed any more. It is the one other implementation of the RPC of IPFS that a package registry has, it was
// written by other people than Kubo, and it runs on Node 24.
describeIpfsContract('held by js-ipfs', startJsIpfs);

/** An offline node with a repository of its own, which speaks with nobody but us. */
async function startJsIpfs(): Promise<{ url: string; stop(): Promise<void> }> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-js-ipfs-'));
  const [api, gateway, rpc] = [await freePort(), await freePort(), await freePort()];
  const at = (port: number) => `/ip4/127.0.0.1/tcp/${port}`;
  const config = {
    // Without an address for peers: its libp2p finds none of those it makes by itself valid, and it needs none.
    Addresses: { Swarm: [], API: at(api), Gateway: at(gateway), RPC: at(rpc), Delegates: [] },
    Bootstrap: [],
    Discovery: { MDNS: { Enabled: false }, webRTCStar: { Enabled: false } },
  };
  const environment = { IPFS_PATH: path.join(dir, 'repository'), HOME: dir };
  mkdirSync(environment.IPFS_PATH);
  const configFile = path.join(dir, 'config.json');
  writeFileSync(configFile, JSON.stringify(config));
  const made = await run(JSIPFS, ['init', '--emptyRepo', configFile], { environment });
  if (made.code !== 0) throw new Error(`jsipfs init failed:\n${made.stdout}${made.stderr}`);
  const daemon = await start(JSIPFS, ['daemon', '--offline'], { environment });
  const url = `http://127.0.0.1:${api}`;
  await eventually(() => new Ipfs(url, 1000).version().catch(() => null));
  return {
    url,
    async stop() {
      await daemon.stop();
      rmSync(dir, { recursive: true });
    },
  };
}
