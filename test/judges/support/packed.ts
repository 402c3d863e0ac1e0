import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run } from './programs.ts';

const ROOT = path.join(import.meta.dirname, '../../..');

/** The package as npm would publish it: the path of the tarball, in a folder of its own. */
export async function packMnemoq(): Promise<{ tarball: string; remove: () => void }> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-packed-'));
  const packed = await run('npm', ['pack', '--silent', '--pack-destination', dir], { cwd: ROOT, limitMs: 240_000 });
  const name = packed.stdout.trim().split('\n').at(-1) ?? '';
  if (packed.code !== 0 || !name.endsWith('.tgz'))
    throw new Error(`npm pack failed:\n${packed.stdout}${packed.stderr}`);
  return { tarball: path.join(dir, name), remove: () => rmSync(dir, { recursive: true }) };
}
