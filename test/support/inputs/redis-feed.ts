import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';

/** One command that Redis ran, those within scripts included: its name in capitals and its arguments. */
export interface RanCommand {
  name: string;
  args: string[];
}

/** Runs `work` and gives every command that Redis ran meanwhile, but scripts themselves: what they run is there. */
export async function commandsOf(redis: Redis, work: () => Promise<unknown>): Promise<RanCommand[]> {
  const monitor = await redis.monitor();
  const ran: RanCommand[] = [];
  const marker = randomUUID();
  const seenAll = new Promise<void>((resolve) => {
    monitor.on('monitor', (_time: string, [name = '', ...args]: string[]) => {
      if (args[0] === marker) resolve();
      else ran.push({ name: name.toUpperCase(), args });
    });
  });
  try {
    await work();
    await redis.echo(marker);
    await seenAll;
  } finally {
    monitor.disconnect();
  }
  return ran.filter(({ name }) => name !== 'EVAL' && name !== 'EVALSHA');
}
