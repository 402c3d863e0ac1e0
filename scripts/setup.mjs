/**
 * Prepares a machine. It installs the npm packages when they are missing or older than the lock file, and then the programs that
 * are named as arguments. It is plain JavaScript for old versions of Node, because it runs before the `node` package is there. It
 * says on standard error what it does. When it may not install a program, it says how to do that and ends with 1. Where the
 * programs after `--optional` are missing, the tests that need them are left out and say so.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** The programs. Any one of `commands` is enough; `apt` installs it on Debian and Ubuntu, and `brew` on macOS. */
const PROGRAMS = {
  redis: { commands: ['redis-server', 'valkey-server'], apt: 'redis-server', brew: 'redis' },
  chromium: { commands: ['chromium', 'chromium-browser', 'google-chrome'], apt: 'chromium', brew: '--cask chromium' },
  valkey: { commands: ['valkey-server'], apt: 'valkey-server', brew: 'valkey' },
};

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

function run(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options }).status === 0;
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function packagesAreCurrent() {
  const installed = path.join(root, 'node_modules', '.package-lock.json');
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(path.join(root, 'package-lock.json')).mtimeMs;
}

function isInstalled({ commands }) {
  return commands.some((command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0);
}

if (!packagesAreCurrent()) {
  process.stderr.write('installing npm packages …\n');
  // `npm ci` refuses a lock file without the optional packages of other platforms, and npm leaves these out when the
  // registry does not have all of them. This command takes the locked versions as well, and changes no file.
  const install = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  if (!run('npm', install)) fail('npm install failed: see above');
}

const asked = process.argv.slice(2);
const optionsAt = asked.includes('--optional') ? asked.indexOf('--optional') : asked.length;

function absent(names) {
  return names.map((name) => PROGRAMS[name]).filter((program) => !isInstalled(program));
}

const missing = absent(asked.slice(0, optionsAt));
if (missing.length > 0) {
  const packages = missing.map(({ apt }) => apt);
  const names = packages.join(' and ');
  if (process.platform === 'darwin')
    fail(missing.map(({ apt, brew }) => `${apt} missing; install with: brew install ${brew}`).join('\n'));
  if (!isInstalled({ commands: ['apt-get'] })) fail(`${names} missing; install with this system's package manager`);
  const command = `apt-get install -y ${packages.join(' ')}`;
  if (process.getuid?.() !== 0) fail(`${names} missing; install with: sudo ${command}`);
  process.stderr.write(`installing ${names} …\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['-qq', 'update'], { env });
  run('apt-get', ['-qq', 'install', '-y', ...packages], { env });
  if (!missing.every(isInstalled)) fail(`could not install ${names}; try: ${command}`);
}

for (const program of absent(asked.slice(optionsAt + 1))) {
  const { apt } = program;
  const offered = spawnSync('apt-cache', ['show', apt], { stdio: 'ignore' }).status === 0;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  if (offered && process.getuid?.() === 0) run('apt-get', ['-qq', 'install', '-y', apt], { env });
  if (!isInstalled(program)) process.stderr.write(`${apt} is not here: nothing is tested on it\n`);
}
