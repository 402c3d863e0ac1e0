import { Ipfs } from '../../shared/pinning/ipfs.ts';
import { Keyring } from '../../shared/secrets/keyring.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import type { ConfigWith } from '../../shared/settings/config.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';

export type ReflectionConfig = ConfigWith<'ipfsApiUrl' | 'signingKey' | 'encryptionKeys'>;

/** What the reflection worker needs beside what every worker has: keys to seal with, a key to sign with, an IPFS node. */
export interface ReflectionParts extends WorkerParts {
  keyring: Keyring;
  signer: Pick<Signer, 'kid' | 'publicKey' | 'sign'>;
  ipfs: Pick<Ipfs, 'pin'>;
}

export function addReflectionParts(
  parts: WorkerParts,
  { encryptionKeys, signingKey, ipfsApiUrl, ipfsTimeoutMs }: ReflectionConfig,
): ReflectionParts {
  return {
    ...parts,
    keyring: new Keyring(encryptionKeys),
    signer: new Signer(signingKey),
    ipfs: new Ipfs(ipfsApiUrl, ipfsTimeoutMs),
  };
}
