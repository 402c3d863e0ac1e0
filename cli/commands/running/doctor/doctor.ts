/**
 * **cli/commands/running/doctor/**: what `mnemoq doctor` examines, with a file for each part of a deployment.
 */
import { Command } from 'commander';
import { jsonOption } from '../../../terminal/arguments.ts';
import type { Config } from '../../../../shared/settings/variables.ts';
import { type Environment, loadConfig, STORE_SETTINGS } from '../../../../shared/settings/config.ts';
import { readEnvironment } from '../../../../shared/settings/environment.ts';
import { EXIT } from '../../../terminal/exit.ts';
import { colors, mark, print, printJson } from '../../../terminal/output.ts';
import { type Finding, attempt } from './finding.ts';
import { examineRedis } from './redis.ts';
import { examineSupabase } from './supabase.ts';
import { examineIpfs, examineKeys } from './reflections.ts';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'check the configuration and every dependency, and say how to mend what is wrong; exit code 1 when something is',
    )
    .addOption(jsonOption())
    .action(async ({ json }: { json?: true }) => {
      const findings = await examine(readEnvironment());
      const isWell = findings.every(({ ok }) => ok);
      if (json) printJson({ ok: isWell, checks: findings.map((each) => (each.ok ? { ...each, mend: null } : each)) });
      else {
        for (const { name, ok, detail, mend } of findings) {
          print(`${mark(ok)} ${name.padEnd(14)} ${detail}`);
          if (!ok) print(`  ${colors.yellow('→')} ${mend}`);
        }
      }
      process.exitCode = isWell ? EXIT.ok : EXIT.failed;
    });
}

async function examine(environment: Environment): Promise<Finding[]> {
  const configuration = await attempt(
    'configuration',
    'set the variables named, in the environment or in .env (.env.example explains each), or run `mnemoq dev` here',
    async () => loadConfig(environment, STORE_SETTINGS) && 'complete',
  );
  let config: Config;
  try {
    config = loadConfig(environment, []);
  } catch {
    return [configuration]; // nothing else can be examined with a wrong configuration
  }
  const parts = await Promise.all([examineRedis(config), examineSupabase(config), examineIpfs(config)]);
  return [configuration, ...parts.flat(), ...examineKeys(config)];
}
