/**
 * **cli/**: the `mnemoq` command. It is the only room that may import all others, and it does none of their work itself.
 */
import { Command } from 'commander';
import { apiCommand } from './commands/running/api.ts';
import { contextCommand } from './commands/reading/context.ts';
import { conversationsCommand } from './commands/reading/conversations.ts';
import { dashboardCommand } from './commands/running/dashboard.ts';
import { demoCommand } from './commands/running/demo.ts';
import { devCommand } from './commands/running/dev.ts';
import { doctorCommand } from './commands/running/doctor/doctor.ts';
import { exportCommand } from './commands/keeping/export.ts';
import { flushCommand } from './commands/saving/flush.ts';
import { forgetCommand } from './commands/keeping/forget.ts';
import { importCommand } from './commands/saving/import.ts';
import { inspectCommand } from './commands/reading/inspect.ts';
import { knowledgeCommand } from './commands/reflections/knowledge.ts';
import { manifestCommand } from './commands/running/manifest.ts';
import { mcpCommand } from './commands/running/mcp.ts';
import { quarantineCommand } from './commands/saving/quarantine.ts';
import { reflectCommand } from './commands/saving/reflect.ts';
import { reflectionsCommand } from './commands/reflections/reflections.ts';
import { rekeyCommand } from './commands/keeping/rekey.ts';
import { restoreCommand } from './commands/keeping/restore.ts';
import { searchCommand } from './commands/reading/search.ts';
import { statsCommand } from './commands/running/stats.ts';
import { statusCommand } from './commands/reading/status.ts';
import { traceCommand } from './commands/reflections/trace.ts';
import { trendsCommand } from './commands/reading/trends.ts';
import { verifyCommand } from './commands/reflections/verify.ts';
import { workerCommand } from './commands/running/worker.ts';
import { EXIT, report } from './terminal/exit.ts';
import { readPackage } from './process/package.ts';
import { beginTraceExport, endTraceExport } from './process/trace-export.ts';

const commands = [
  demoCommand,
  devCommand,
  workerCommand,
  apiCommand,
  mcpCommand,
  dashboardCommand,
  importCommand,
  contextCommand,
  conversationsCommand,
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

/** Runs the command with which the process was started. The exit code of the command becomes the exit code of the process. */
export async function runProgram(): Promise<void> {
  process.on('uncaughtException', (error) => process.exit(report(error)));
  // The reader has closed the pipe because it has seen enough, as in `mnemoq context … | head`.
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
    process.exit(code); // a connection that still tries to connect must not delay the end
  }
}

/** Makes the program with all commands. */
export function createProgram(): Command {
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
