#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { contextCommand } from './commands/context.ts';
import { dashboardCommand } from './commands/dashboard.ts';
import { demoCommand } from './commands/demo.ts';
import { devCommand } from './commands/dev.ts';
import { doctorCommand } from './commands/doctor.ts';
import { flushCommand } from './commands/flush.ts';
import { importCommand } from './commands/import.ts';
import { inspectCommand } from './commands/inspect.ts';
import { quarantineCommand } from './commands/quarantine.ts';
import { reflectCommand } from './commands/reflect.ts';
import { statsCommand } from './commands/stats.ts';
import { statusCommand } from './commands/status.ts';
import { verifyCommand } from './commands/verify.ts';
import { workerCommand } from './commands/worker.ts';
import { report } from './exit.ts';

const commands = [
  demoCommand,
  devCommand,
  workerCommand,
  dashboardCommand,
  importCommand,
  contextCommand,
  reflectCommand,
  flushCommand,
  statsCommand,
  statusCommand,
  inspectCommand,
  verifyCommand,
  quarantineCommand,
  doctorCommand,
];

const program = new Command('mnemoq')
  .description('The memory of an AI agent system, run as queues and workers.')
  .version(version())
  .addHelpText(
    'after',
    '\nExit codes: 0 done, 1 the answer is no, 2 wrong usage or configuration, 3 a part is unavailable.',
  );
for (const create of commands) program.addCommand(create());
for (const command of [program, ...program.commands.flatMap((each) => [each, ...each.commands])])
  command.exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function version(): string {
  const candidates = ['..', '../..'].map((up) => path.join(import.meta.dirname, up, 'package.json'));
  for (const file of candidates) {
    try {
      return JSON.parse(readFileSync(file, 'utf8')).version;
    } catch {
      // the sources lie one level below package.json, the build two
    }
  }
  return 'unknown';
}
