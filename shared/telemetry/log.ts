/**
 * **shared/telemetry/**: what a process tells about itself: log lines, metrics, traces. Never a text, a token or a key.
 */
import { type Logger, pino } from 'pino';
import { activeIds } from './tracing.ts';

export type { Logger };

/**
 * Structured logs on standard error, one JSON object a line, so that standard output stays for data.
 * Log ids, counts and durations; never a message's text, a token, a key or a URL that may carry a password.
 */
export function createLogger(level: string, name: string): Logger {
  const mixin = () => activeIds() ?? {};
  return pino({ name, level, base: { name, pid: process.pid }, mixin }, pino.destination({ dest: 2, sync: true }));
}
