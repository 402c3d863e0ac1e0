/**
 * Gets a bare machine ready: npm packages when they are missing or older than the lock file, then the programs named as
 * arguments. Plain JavaScript for old Nodes: it runs before the `node` package is there. Says what it does on standard
 * error; a program it may not install it tells how to, and ends with 1.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** Programs by what needs them: any of `commands` will do; `apt` installs it on Debian and Ubuntu. */
const PROGRAMS = {
  redis: { commands: ['redis-server', 'valkey-server'], apt: 'redis-server' },
  chromium: { commands: ['chromium', 'chromium-browser', 'google-chrome'], apt: 'chromium' },
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
  if (!run('npm', ['ci', '--no-audit', '--no-fund'])) fail('npm ci failed: see above');
}

const missing = process.argv
  .slice(2)
  .map((name) => PROGRAMS[name])
  .filter((program) => !isInstalled(program));
if (missing.length > 0) {
  const packages = missing.map(({ apt }) => apt);
  const command = `apt-get install -y ${packages.join(' ')}`;
  if (process.getuid?.() !== 0) fail(`${packages.join(' and ')} missing; install with: sudo ${command}`);
  process.stderr.write(`installing ${packages.join(', ')} …\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update'], { env });
  run('apt-get', ['install', '-y', ...packages], { env });
  if (!missing.every(isInstalled)) fail(`could not install ${packages.join(' and ')}; try: ${command}`);
}
