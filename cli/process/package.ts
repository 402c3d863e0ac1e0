/**
 * **cli/process/**: what a command needs of processes: signals, child processes, the package it runs from, traces.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What the commands need of this package's package.json. */
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
