import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';

const KNOWN = ['redis-server', 'valkey-server'];

/** The one Redis server all tests shall run on, when there are several: `MNEMOQ_TEST_REDIS=valkey-server npm test`. */
const CHOSEN = process.env['MNEMOQ_TEST_REDIS'] || undefined;

function locate(program: string): string | null {
  const found = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program], { encoding: 'utf8' });
  return found.status === 0 ? found.stdout.trim() : null;
}

/** For `describe.each`: what stands in a suite's name, and the program. Whatever this machine has, or the chosen one alone. */
export function redisPrograms(): [name: string, program: string][] {
  if (CHOSEN !== undefined) return [[CHOSEN, CHOSEN]];
  const installed = KNOWN.filter((program) => locate(program) !== null);
  const absent = KNOWN.filter((program) => !installed.includes(program)).map((program) => `no ${program} here`);
  const instead = absent.length > 0 ? ` (${absent.join(', ')})` : '';
  return installed.map((program) => [`${program}${instead}`, program]);
}

/**
 * Puts the chosen program first on the path under the name that is looked for first, so that everything that starts a
 * Redis starts this one: tests, `mnemoq dev`, `mnemoq demo`.
 */
export function preferChosenRedis(dir: string): void {
  if (CHOSEN === undefined) return;
  const program = locate(CHOSEN);
  if (program === null) throw new Error(`MNEMOQ_TEST_REDIS: ${CHOSEN} is not installed`);
  const bin = path.join(dir, 'bin');
  mkdirSync(bin);
  symlinkSync(program, path.join(bin, 'redis-server'));
  process.env['PATH'] = `${bin}${path.delimiter}${process.env['PATH'] ?? ''}`;
}
