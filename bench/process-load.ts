import { existsSync, readFileSync } from 'node:fs';

/** The kernel counts a process's time in these, on every Linux that Node runs on. */
const TICK_MS = 10;

/** What a process takes. */
export interface ProcessLoad {
  rssBytes: number;
  /** Most it ever had. */
  peakBytes: number;
  /** Processor time since its start. */
  cpuMs: number;
}

/** From /proc; null where there is none (macOS). */
export function readProcessLoad(pid: number): ProcessLoad | null {
  if (!existsSync(`/proc/${pid}/status`)) return null;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (field: string) => 1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
  // Fields 14 and 15; the second one, the name, may hold spaces and ends with the last parenthesis.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { rssBytes: kib('VmRSS'), peakBytes: kib('VmHWM'), cpuMs: TICK_MS * ticks };
}
