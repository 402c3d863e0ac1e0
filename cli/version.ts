import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Of this package. */
export function version(): string {
  const manifest = fileURLToPath(import.meta.resolve('mnemoq/package.json'));
  return JSON.parse(readFileSync(manifest, 'utf8')).version;
}
