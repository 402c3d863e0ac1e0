/**
 * **cli/process/**: what commands need to know and do about processes: signals, child processes, the package from which the
 * command runs, and traces.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The fields of package.json that the commands need. */
export interface PackageManifest {
  name: string;
  version: string;
  type: string;
  description: string;
  dependencies: Record<string, string>;
  exports: { '.': { import: string; 'mnemoq-source': string } };
}

export function packageFile(): string {
  return fileURLToPath(import.meta.resolve('mnemoq/package.json'));
}

export function readPackage(): PackageManifest {
  return JSON.parse(readFileSync(packageFile(), 'utf8'));
}
