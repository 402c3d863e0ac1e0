import { existsSync, readFileSync } from 'node:fs';

/** The kernel counts the time of a process in ticks of this length, on every Linux on which Node runs. */
const TICK_MS = 10;

/** The memory and the time that a process takes. */
export interface ProcessLoad {
  rssBytes: number;
  /** The most memory that it ever had. */
  peakBytes: number;
  /** The processor time since it was started. */
  cpuMs: number;
}

/** Read from /proc. It is null where there is no /proc, as on macOS. */
export function readProcessLoad(pid: number): ProcessLoad | null {
  if (!existsSync(`/proc/${pid}/status`)) return null;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (field: string) => 1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
  // The times are fields 14 and 15. Field 2, the name, may contain spaces and ends with the last parenthesis.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { rssBytes: kib('VmRSS'), peakBytes: kib('VmHWM'), cpuMs: TICK_MS * ticks };
}
