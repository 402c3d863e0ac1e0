import { Command } from 'commander';
import { apiCommand } from './commands/api.ts';
import { contextCommand } from './commands/context.ts';
import { dashboardCommand } from './commands/dashboard.ts';
import { demoCommand } from './commands/demo.ts';
import { devCommand } from './commands/dev.ts';
import { doctorCommand } from './commands/doctor.ts';
import { exportCommand } from './commands/export.ts';
import { flushCommand } from './commands/flush.ts';
import { forgetCommand } from './commands/forget.ts';
import { importCommand } from './commands/import.ts';
import { inspectCommand } from './commands/inspect.ts';
import { knowledgeCommand } from './commands/knowledge.ts';
import { manifestCommand } from './commands/manifest.ts';
import { mcpCommand } from './commands/mcp.ts';
import { quarantineCommand } from './commands/quarantine.ts';
import { reflectCommand } from './commands/reflect.ts';
import { reflectionsCommand } from './commands/reflections.ts';
import { rekeyCommand } from './commands/rekey.ts';
import { restoreCommand } from './commands/restore.ts';
import { searchCommand } from './commands/search.ts';
import { statsCommand } from './commands/stats.ts';
import { statusCommand } from './commands/status.ts';
import { traceCommand } from './commands/trace.ts';
import { trendsCommand } from './commands/trends.ts';
import { verifyCommand } from './commands/verify.ts';
import { workerCommand } from './commands/worker.ts';
import { EXIT, report } from './exit.ts';
import { readPackage } from './package.ts';
import { beginTraceExport, endTraceExport } from './trace-export.ts';

const commands = [
  demoCommand,
  devCommand,
  workerCommand,
  apiCommand,
  mcpCommand,
  dashboardCommand,
  importCommand,
  contextCommand,
  searchCommand,
  reflectCommand,
  flushCommand,
  statsCommand,
  statusCommand,
  inspectCommand,
  verifyCommand,
  reflectionsCommand,
  traceCommand,
  quarantineCommand,
  trendsCommand,
  exportCommand,
  knowledgeCommand,
  restoreCommand,
  forgetCommand,
  rekeyCommand,
  doctorCommand,
  manifestCommand,
];

/** Runs the command that the process was started with; its exit code is the process's. */
export async function runProgram(): Promise<void> {
  process.on('uncaughtException', (error) => process.exit(report(error)));
  // Whoever reads has seen enough, as in `mnemoq context … | head`.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) =>
      process.exit(error.code === 'EPIPE' ? EXIT.ok : report(error)),
    );
  }
  try {
    await createProgram().parseAsync();
  } catch (error) {
    const code = report(error);
    await endTraceExport();
    process.exit(code); // and no connection that is still trying keeps it waiting
  }
}

function createProgram(): Command {
  const program = new Command('mnemoq')
    .description('The memory of an AI agent system, run as queues and workers.')
    .version(readPackage().version)
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 the answer is no, 2 wrong usage or configuration, 3 a part is unavailable.' +
        '\nSettings come from the environment, from .env and from a `mnemoq dev` that runs in this folder.',
    )
    .hook('preAction', async (_program, command) => beginTraceExport(command))
    .hook('postAction', endTraceExport);
  for (const create of commands) program.addCommand(create());
  for (const command of [program, ...program.commands.flatMap((each) => [each, ...each.commands])])
    command.exitOverride();
  return program;
}
