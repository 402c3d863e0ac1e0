/**
 * **cli/commands/running/**: commands that run a part of Mnemoq until they are stopped, or look at what runs.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { freePort } from '../../../embedded/free-port.ts';
import { whenGone } from '../../../embedded/guard.ts';
import { requireEmbeddedPackages } from '../../../embedded/packages.ts';
import { type EmbeddedParts, startEmbeddedParts } from '../../../embedded/parts.ts';
import { devEnvironmentFile, readEnvironment } from '../../../shared/settings/environment.ts';
import { type Environment, loadConfig } from '../../../shared/settings/config.ts';
import { VARIABLE_NAMES } from '../../../shared/settings/variables.ts';
import { OPTIONAL_WORKER_KINDS, WORKER_KINDS } from '../../../workers/kinds.ts';
import { CommandEnd, EXIT } from '../../terminal/exit.ts';
import { colors, print, say, sayColors } from '../../terminal/output.ts';
import { untilSignal } from '../../process/until-signal.ts';
import { WorkerProcesses } from '../../process/worker-processes.ts';

/** The variables that the embedded parts decide. The user may set all others. */
const ADDRESSES = ['REDIS_URL', 'SUPABASE_URL', 'SUPABASE_SERVICE_ROLE_KEY', 'IPFS_API_URL', 'MNEMOQ_DATA_DIR'];

const EXAMPLE_TURN = JSON.stringify({
  context_id: 'demo',
  user_id: 'me',
  user_message: 'What grows on a north balcony?',
  assistant_message: 'Ferns and mint do.',
});

/** The addresses of the API and the dashboard. */
interface Doors {
  api: { url: string };
  dashboard: { url: string; queuesUrl: string };
}

/** The variable without which a worker has nothing to do. */
const WANTED_BY = { webhook: 'MEMORY_WEBHOOK_URL', reflector: 'MEMORY_REFLECTOR_URL' } as const;

export function devCommand(): Command {
  return new Command('dev')
    .description(
      'run everything on embedded parts until Ctrl-C: Redis, Supabase, IPFS, all workers, the HTTP API and the dashboard',
    )
    .addHelpText(
      'after',
      '\nData stays in MNEMOQ_DATA_DIR (.mnemoq). Other mnemoq commands started in this folder find the parts by themselves.' +
        '\nMEMORY_LOG_LEVEL=info shows what the workers do. A second Ctrl-C ends it without waiting for them.',
    )
    .action(async () => {
      const signal = untilSignal();
      void signal.then(() => say('stopping …'));
      const { dataDir } = loadConfig(readEnvironment(), []);
      requireEmbeddedPackages();
      say('starting Redis, Supabase and IPFS …');
      const parts = await startEmbeddedParts(dataDir);
      try {
        await run(parts, signal);
      } finally {
        await parts.stop();
      }
    });
}

async function run(parts: EmbeddedParts, signal: Promise<unknown>): Promise<void> {
  const file = devEnvironmentFile(parts.environment['MNEMOQ_DATA_DIR'] ?? '');
  rmSync(file, { force: true }); // it may be left from a run that a power cut ended
  const given = readEnvironment();
  const { apiPort, dashboardPort } = loadConfig(given, []);
  const environment = { ...parts.environment, ...settingsOf(given) };
  const callOff = whenGone('rm -f "$1"', file);
  writeFileSync(file, toDotenv(environment), { mode: 0o600 });
  const workers = new WorkerProcesses({
    MEMORY_LOG_LEVEL: 'warn',
    MEMORY_API_PORT: String(given['MEMORY_API_PORT'] || (await freePort(apiPort))),
    MEMORY_DASHBOARD_PORT: String(given['MEMORY_DASHBOARD_PORT'] || (await freePort(dashboardPort))),
    ...environment,
    MEMORY_HEALTH_PORT: '0', // five processes cannot share one port
  });
  try {
    say('starting the workers, the HTTP API and the dashboard …');
    const started = await Promise.race([startAll(workers, environment), signal.then(() => null)]);
    if (started === null) throw new CommandEnd(EXIT.failed, 'stopped before everything was up');
    printPlaces(parts, environment, started, file);
    await signal;
  } finally {
    rmSync(file, { force: true });
    callOff();
    await workers.stop();
  }
}

/** Gives the variables that the user has set, in the environment or in `.env`, except addresses. */
function settingsOf(given: Environment): Record<string, string> {
  const names = Object.values(VARIABLE_NAMES).filter((name) => !ADDRESSES.includes(name) && given[name]);
  return Object.fromEntries(names.map((name) => [name, given[name] ?? '']));
}

async function startAll(workers: WorkerProcesses, environment: Environment): Promise<Doors> {
  const optional = OPTIONAL_WORKER_KINDS.filter((kind) => environment[WANTED_BY[kind]]);
  const wanted = [...WORKER_KINDS, ...optional];
  const kinds = wanted.map((kind) => workers.start('worker', kind));
  const [api, dashboard] = await Promise.all([workers.start('api'), workers.start('dashboard'), ...kinds]);
  return { api, dashboard } as Doors;
}

function printPlaces(
  parts: EmbeddedParts,
  environment: Record<string, string>,
  { api, dashboard }: Doors,
  file: string,
): void {
  const [name, secret] = environment['MEMORY_API_KEYS']?.split(',')[0]?.split(/:(.*)/s) ?? [];
  print(`${colors.bold('Mnemoq is up')}, data in ${environment['MNEMOQ_DATA_DIR']}`);
  print(`  Redis      ${parts.redis.url}`);
  print(`  Supabase   ${parts.supabase.url}`);
  print(`  IPFS       ${parts.ipfs.url}`);
  print(`  HTTP API   ${api.url}  documentation at ${api.url}/docs`);
  print(`  dashboard  ${dashboard.url}  name ${name}, secret ${secret}`);
  print(`  queues     ${dashboard.queuesUrl}`);
  print(`  keys       ${file}  (readable by you only)`);
  const used = readEnvironment();
  const foreign = ADDRESSES.filter(
    (address) => used[address] !== environment[address] && address !== 'MNEMOQ_DATA_DIR',
  );
  if (foreign.length > 0) {
    const names = foreign.join(', ');
    say(sayColors.yellow(`${names} set here: other mnemoq commands use that and not these parts`));
  }
  print('Try it from another terminal:');
  print(`  curl -H 'Authorization: Bearer ${secret}' -H 'Content-Type: application/json' -H 'Prefer: wait=5' \\`);
  print(`    -d '${EXAMPLE_TURN}' ${api.url}/memory/chat`);
  print(`  curl -H 'Authorization: Bearer ${secret}' '${api.url}/memory/context/demo/recent?format=messages'`);
  print('Ctrl-C stops it.');
}

function toDotenv(environment: Record<string, string>): string {
  return Object.entries(environment)
    .map(([name, value]) => (value.includes('"') ? `${name}='${value}'\n` : `${name}="${value}"\n`))
    .join('');
}
