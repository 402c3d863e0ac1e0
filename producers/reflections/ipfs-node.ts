import type { Config } from '../../shared/settings/variables.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { Ipfs } from '../../shared/pinning/ipfs.ts';

/** The IPFS node of the configuration. Throws `invalid_configuration` when there is none. */
export function ipfsNode({ ipfsApiUrl, ipfsTimeoutMs }: Pick<Config, 'ipfsApiUrl' | 'ipfsTimeoutMs'>): Ipfs {
  if (ipfsApiUrl !== undefined) return new Ipfs(ipfsApiUrl, ipfsTimeoutMs);
  const found = "expected the URL of a Kubo node's RPC, found nothing";
  throw new MnemoqError('invalid_configuration', `IPFS_API_URL: ${found}`);
}
