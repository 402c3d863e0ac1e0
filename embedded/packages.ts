import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MnemoqError } from '../shared/errors.ts';

/** The packages that only the embedded parts need. They are optional peer dependencies, so production has none of them. */
const PACKAGES = ['@hono/node-server', '@supabase/lite', 'blockstore-fs', 'ipfs-unixfs-exporter'];

/** Throws an error that names the command to install them when any of them is missing. */
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
