/**
 * **shared/telemetry/**: what a process tells about itself: log lines, metrics, traces. It never tells a text, a token or a key.
 */
import { type Logger, pino } from 'pino';
import { activeIds } from './tracing.ts';

export type { Logger };

/**
 * Structured logs on standard error, one JSON object in a line, so that standard output stays free for data.
 * Log ids, counts and durations. Never log the text of a message, a token, a key or a URL that may carry a password.
 */
export function createLogger(level: string, name: string): Logger {
  const mixin = () => activeIds() ?? {};
  return pino({ name, level, base: { name, pid: process.pid }, mixin }, pino.destination({ dest: 2, sync: true }));
}
