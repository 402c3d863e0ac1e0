import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';

/** Something that a judge cannot do without. */
export interface Need {
  /** Gets it where that is possible. Null when it is there, else what is missing and the command that brings it. */
  get(): string | null;
}

const ROOT = path.join(import.meta.dirname, '../../..');
/** Programs out of packages of the distribution, unpacked and not installed. */
const UNPACKED = path.join(ROOT, 'test/judges/debian');
const NPM_MINUTES = 15;
/** A Chromium under any of these names will do, as in `scripts/setup.mjs`. */
const CHROMIUM = ['chromium', 'chromium-browser', 'google-chrome'];

interface DebianPackage {
  /** Debian names what belongs to a PostgreSQL after its version; the newest one is taken. */
  name: RegExp;
  /** What is unpacked over it, named after it. */
  with?: (name: string) => string;
  /** A program of it, which must be able to run without having been installed. */
  program?: (name: string) => string;
}

const DEBIAN = {
  nginx: { name: /^nginx$/, program: () => 'usr/sbin/nginx' },
  pgtap: { name: /^postgresql-\d+-pgtap$/ },
  plpgsql_check: {
    name: /^postgresql-\d+-plpgsql-check$/,
    with: (name) => name.replace('-plpgsql-check', ''),
    program: (name) => `usr/lib/postgresql/${/\d+/.exec(name)?.[0]}/bin/postgres`,
  },
} satisfies Record<string, DebianPackage>;
export type DebianName = keyof typeof DEBIAN;

/** The npm packages that the lock file of a folder names; nothing is done while what is installed is newer than it. */
export function npmPackages(folder: string): Need {
  return {
    get() {
      const dir = path.join(ROOT, folder);
      const installed = path.join(dir, 'node_modules/.package-lock.json');
      const isCurrent = () => modified(installed) >= modified(path.join(dir, 'package-lock.json'));
      if (isCurrent()) return null;
      // Not `npm ci`, for the reason that scripts/setup.mjs gives. No package here needs its install script.
      const args = ['install', '--no-save', '--ignore-scripts', '--loglevel=error'];
      spawnSync('npm', args, { cwd: dir, stdio: ['ignore', 2, 2], timeout: NPM_MINUTES * 60_000 });
      return isCurrent() ? null : `its npm packages are not installed; try: npm install --no-save --prefix ${folder}`;
    },
  };
}

/** The browser that the tests use; `npm run judges` has tried to install it. */
export const chromium: Need = {
  get: () =>
    CHROMIUM.some((command) => spawnSync(command, ['--version']).status === 0)
      ? null
      : 'no Chromium; install it with: sudo apt-get install -y chromium',
};

/**
 * A package of the distribution, fetched by its package manager with its checks and unpacked beside the judges. It is not
 * installed: that would start a web server at port 80, or a second PostgreSQL, on the machine of whoever runs the judges.
 */
export function debianPackage(name: DebianName): Need {
  return {
    get() {
      const target = path.join(UNPACKED, name);
      if (existsSync(target)) return null;
      mkdirSync(UNPACKED, { recursive: true });
      const draft = mkdtempSync(path.join(UNPACKED, 'draft-'));
      try {
        return unpack(name, draft, target);
      } finally {
        rmSync(draft, { recursive: true, force: true });
      }
    },
  };
}

/** Where a package of the distribution is unpacked. */
export function unpackedPackage(name: DebianName): string {
  return path.join(UNPACKED, name);
}

function unpack(name: DebianName, draft: string, target: string): string | null {
  const wanted: DebianPackage = DEBIAN[name];
  const [newest] = candidates(wanted.name);
  if (newest === undefined) {
    return `no package ${name} to be had; for the list of packages: sudo apt-get update (Debian and Ubuntu only)`;
  }
  const packages = [newest, ...(wanted.with ? [wanted.with(newest)] : [])];
  // Root gives a download to a user without rights, who cannot write into this folder; that is a warning and no more.
  const downloaded = spawnSync('apt-get', ['download', ...packages], { cwd: draft, encoding: 'utf8' });
  const files = readdirSync(draft);
  if (files.length < packages.length) return `apt-get download ${packages.join(' ')} failed: ${downloaded.stderr}`;
  for (const file of files) {
    const extracted = spawnSync('dpkg-deb', ['--extract', file, 'content'], { cwd: draft, encoding: 'utf8' });
    if (extracted.status !== 0) return `dpkg-deb --extract ${file} failed: ${extracted.stderr}`;
  }
  const content = path.join(draft, 'content');
  const program = wanted.program?.(newest);
  // nginx knows -V only, PostgreSQL both.
  if (program && spawnSync(path.join(content, program), ['-V']).status !== 0) {
    return `libraries of ${newest} are not here; they come with: sudo apt-get install -y ${packages.join(' ')}`;
  }
  renameSync(content, target);
  return null;
}

/** The packages that would do, the newest PostgreSQL first. As root the list of packages is brought up to date when it has none. */
function candidates(wanted: RegExp): string[] {
  const known = () =>
    (spawnSync('apt-cache', ['pkgnames'], { encoding: 'utf8', maxBuffer: 2 ** 26 }).stdout ?? '')
      .split('\n')
      .filter((each) => wanted.test(each))
      .toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  if (known().length === 0 && process.getuid?.() === 0) spawnSync('apt-get', ['-qq', 'update'], { stdio: 'ignore' });
  return known();
}

function modified(file: string): number {
  return existsSync(file) ? statSync(file).mtimeMs : -1;
}
