import { Console } from 'node:console';
import { Command } from 'commander';
import { userOption } from '../../terminal/arguments.ts';
import { startMcpHttp } from '../../../doors/mcp/http-door.ts';
import { startMcpStdio } from '../../../doors/mcp/stdio-door.ts';
import { readEnvironment } from '../../../shared/settings/environment.ts';
import { say, sayColors } from '../../terminal/output.ts';
import { tellParent, untilSignal } from '../../process/until-signal.ts';
import { readPackage } from '../../process/package.ts';

export function mcpCommand(): Command {
  return new Command('mcp')
    .description('an MCP server with the memory as tools and resources, on standard input and output or over HTTP')
    .option('--http', 'streamable HTTP at /mcp of MEMORY_MCP_HOST and MEMORY_MCP_PORT, with the keys of the HTTP API')
    .addOption(userOption("on standard input and output: only this user's memory"))
    .action(async ({ http, user }: { http?: true; user?: string }, command: Command) => {
      if (http && user !== undefined) command.error('error: with --http the key says whose memory it is, not --user');
      await (http ? serveHttp() : serveStdio(user));
    });
}

async function serveHttp(): Promise<void> {
  const signal = untilSignal();
  const door = await startMcpHttp(readEnvironment(), readPackage().version);
  process.on('SIGHUP', () => door.reloadKeys(readEnvironment));
  if (!process.connected) say(`MCP server at ${door.url}; Ctrl-C stops it`);
  if (door.open) say(sayColors.yellow('no keys are set: it takes requests of this machine only, and all of them'));
  tellParent({ url: door.url });
  await signal;
  await door.stop();
}

async function serveStdio(user: string | undefined): Promise<void> {
  // Standard output belongs to the protocol, so messages of libraries go to standard error.
  globalThis.console = new Console(process.stderr);
  const signal = untilSignal();
  const door = startMcpStdio(readEnvironment(), readPackage().version, user);
  await Promise.race([signal, door.ended]);
  await door.stop();
}
