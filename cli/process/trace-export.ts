import type { Command } from 'commander';
import { type Config, VARIABLE_NAMES } from '../../shared/settings/variables.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { readEnvironment } from '../../shared/settings/environment.ts';
import { isError } from '../../shared/errors.ts';
import { createLogger } from '../../shared/telemetry/log.ts';

/** The commands that keep running and write a log. What the other commands print is read by a person. */
const SERVICES: ReadonlySet<string> = new Set(['worker', 'api', 'dashboard', 'mcp']);

let end: (() => Promise<void>) | null = null;

/** Sends the spans of this process to OTEL_EXPORTER_OTLP_ENDPOINT. Without that variable nothing of it is loaded. */
export async function beginTraceExport(command: Command): Promise<void> {
  const [name = ''] = namesOf(command);
  const { otlpEndpoint, logLevel } = readSettings(SERVICES.has(name));
  if (otlpEndpoint === undefined) return;
  const serviceName = `mnemoq-${name === 'worker' ? command.args[0] : name}`;
  const { startTraceExport } = await import('../../shared/telemetry/trace-export.ts');
  end = startTraceExport(otlpEndpoint, serviceName, createLogger(logLevel, serviceName));
}

/** Sends the spans that are left, within a limited time. */
export async function endTraceExport(): Promise<void> {
  await end?.();
  end = null;
}

/** A wrong configuration is no error here, because the command itself reports it. */
function readSettings(logs: boolean): Pick<Config, 'otlpEndpoint' | 'logLevel'> {
  const quiet = { otlpEndpoint: undefined, logLevel: 'silent' as const };
  try {
    const environment = readEnvironment();
    if (!environment[VARIABLE_NAMES.otlpEndpoint]) return quiet;
    return loadConfig({ ...(!logs && { [VARIABLE_NAMES.logLevel]: quiet.logLevel }), ...environment }, []);
  } catch (error) {
    if (isError(error, 'invalid_configuration')) return quiet;
    throw error;
  }
}

/** Gives the name of the command below `mnemoq`, and then those of its subcommands. */
function namesOf(command: Command): string[] {
  return command.parent ? [...namesOf(command.parent), command.name()] : [];
}
