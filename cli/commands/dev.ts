import { rmSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { startEmbeddedParts } from '../../embedded/parts.ts';
import { devEnvironmentFile, loadConfig, readEnvironment } from '../../shared/config.ts';
import { WORKER_KINDS } from '../../workers/worker.ts';
import { colors, print, say } from '../output.ts';
import { untilSignal } from '../until-signal.ts';
import { WorkerProcesses } from '../worker-processes.ts';

export function devCommand(): Command {
  return new Command('dev')
    .description('run everything on embedded parts until Ctrl-C: Redis, Supabase, IPFS, all workers and the dashboard')
    .addHelpText(
      'after',
      '\nData stays in MNEMOQ_DATA_DIR (.mnemoq). Other mnemoq commands started in this folder find the parts by themselves.',
    )
    .action(async () => {
      const signal = untilSignal();
      const given = readEnvironment();
      const { dataDir, dashboardHost, dashboardPort } = loadConfig(given, []);
      say('starting Redis, Supabase and IPFS …');
      const parts = await startEmbeddedParts(dataDir);
      const environmentFile = devEnvironmentFile(dataDir);
      writeFileSync(environmentFile, toDotenv(parts.environment), { mode: 0o600 });
      const workers = new WorkerProcesses(parts.environment);
      try {
        await Promise.all([...WORKER_KINDS.map((kind) => workers.start('worker', kind)), workers.start('dashboard')]);
        const { MEMORY_API_KEYS: [name, secret] = [] } = {
          MEMORY_API_KEYS: parts.environment['MEMORY_API_KEYS']?.split(':'),
        };
        print(`${colors.bold('Mnemoq is up')}, data in ${dataDir}`);
        print(`  Redis      ${parts.redis.url}`);
        print(`  Supabase   ${parts.supabase.url}`);
        print(`  IPFS       ${parts.ipfs.url}`);
        print(`  dashboard  http://${dashboardHost}:${dashboardPort}  name ${name}, secret ${secret}`);
        print(`  keys       ${environmentFile}  (readable by you only)`);
        print('Ctrl-C stops it.');
        await signal;
        say('stopping …');
      } finally {
        rmSync(environmentFile, { force: true });
        await workers.stop();
        await parts.stop();
      }
    });
}

function toDotenv(environment: Record<string, string>): string {
  return Object.entries(environment)
    .map(([name, value]) => `${name}="${value}"\n`)
    .join('');
}
