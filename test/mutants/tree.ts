import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Mutant } from './list/mutant.ts';

const ROOT = path.join(import.meta.dirname, '../..');
/** What is not copied. */
const LEFT_OUT = new Set(['node_modules', '.git', '.mnemoq', 'dist']);

/** A copy of the whole source, with the packages of the original. It is changed and then thrown away. */
export class Tree {
  readonly dir: string;

  constructor() {
    this.dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-mutant-'));
    cpSync(ROOT, this.dir, { recursive: true, filter: (file) => !LEFT_OUT.has(path.relative(ROOT, file)) });
    mkdirSync(this.temporary);
    // PostgreSQL does not run as root, and must be able to enter its folder.
    for (const dir of [this.dir, this.temporary]) chmodSync(dir, 0o755);
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(this.dir, 'node_modules'));
  }

  /** Takes the place of the system's temporary folder, so that everything the tests put there goes with the tree. */
  get temporary(): string {
    return path.join(this.dir, 'tmp');
  }

  /**
   * Makes the mistake. Throws unless the text stands in the file exactly once, because a list that does not fit the code proves
   * nothing.
   */
  mutate({ name, file, text, instead }: Mutant): void {
    const source = path.join(this.dir, file);
    const [before = '', after, ...more] = readFileSync(source, 'utf8').split(text);
    if (after === undefined || more.length > 0) {
      const times = after === undefined ? 'nowhere' : `${more.length + 1} times`;
      throw new Error(`the text of mutant ${name} stands ${times} in ${file}, not once: bring the list up to date`);
    }
    writeFileSync(source, before + instead + after);
  }

  /**
   * Removes the copy. The parts of a run that was cut short may still be ending and write once more, so it tries several times.
   */
  remove(): void {
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}
