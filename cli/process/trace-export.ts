import type { Command } from 'commander';
import { type Config, VARIABLE_NAMES } from '../../shared/settings/variables.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { readEnvironment } from '../../shared/settings/environment.ts';
import { isError } from '../../shared/errors.ts';
import { createLogger } from '../../shared/telemetry/log.ts';

/** Those that stay, and log; of the others a person reads what they print. */
const SERVICES: ReadonlySet<string> = new Set(['worker', 'api', 'dashboard', 'mcp']);

let end: (() => Promise<void>) | null = null;

/** Sends the spans of this process to where OTEL_EXPORTER_OTLP_ENDPOINT says; without it nothing is even loaded. */
export async function beginTraceExport(command: Command): Promise<void> {
  const [name = ''] = namesOf(command);
  const { otlpEndpoint, logLevel } = readSettings(SERVICES.has(name));
  if (otlpEndpoint === undefined) return;
  const serviceName = `mnemoq-${name === 'worker' ? command.args[0] : name}`;
  const { startTraceExport } = await import('../../shared/telemetry/trace-export.ts');
  end = startTraceExport(otlpEndpoint, serviceName, createLogger(logLevel, serviceName));
}

/** Sends what is left, in bounded time. */
export async function endTraceExport(): Promise<void> {
  await end?.();
  end = null;
}

/** A wrong configuration is the command's to complain about. */
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

/** The command's name below `mnemoq`, then those of its own commands. */
function namesOf(command: Command): string[] {
  return command.parent ? [...namesOf(command.parent), command.name()] : [];
}
