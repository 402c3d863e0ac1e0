import type { Config } from '../../../../shared/settings/variables.ts';
import { Ipfs } from '../../../../shared/pinning/ipfs.ts';
import { Signer } from '../../../../shared/secrets/signing.ts';
import { type Finding, attempt } from './finding.ts';

export async function examineIpfs({ ipfsApiUrl, ipfsTimeoutMs }: Config): Promise<Finding[]> {
  const name = 'IPFS';
  if (ipfsApiUrl === undefined) {
    const mend = "IPFS_API_URL=http://127.0.0.1:5001, or wherever a Kubo node's RPC listens; reflections need it";
    return [{ name, ok: false, detail: 'IPFS_API_URL is not set', mend }];
  }
  const ask = async () => `version ${await new Ipfs(ipfsApiUrl, ipfsTimeoutMs).version()}`;
  return [await attempt(name, 'start the node, or correct IPFS_API_URL', ask)];
}

export function examineKeys({ encryptionKeys, signingKey }: Config): Finding[] {
  return [
    {
      name: 'encryption',
      ok: encryptionKeys !== undefined,
      detail: encryptionKeys ? `key ${encryptionKeys[0].kid} writes` : 'MEMORY_ENCRYPTION_KEYS is not set',
      mend:
        'MEMORY_ENCRYPTION_KEYS="k1:$(openssl rand -base64 32)", and keep a copy: what is encrypted cannot be read ' +
        'without it; private reflections and MEMORY_TEXT_CACHE=encrypted need it',
    },
    {
      name: 'signing',
      ok: signingKey !== undefined,
      detail: signingKey ? signerFound(new Signer(signingKey)) : 'MEMORY_SIGNING_KEY is not set',
      mend: 'MEMORY_SIGNING_KEY="$(openssl rand -base64 32)"; reflections need it',
    },
  ];
}

/** Shows the public key, which MEMORY_RETIRED_SIGNING_KEYS needs once another key signs. */
function signerFound({ kid, publicKey }: Signer): string {
  return `key ${kid} signs, public key ${publicKey}`;
}
