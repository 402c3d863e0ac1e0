import { Command } from 'commander';
import { jsonOption, userOption } from '../../terminal/arguments.ts';
import { colors, print, printJson } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

export function statusCommand(): Command {
  return new Command('status')
    .description('how far a record has come: queued, cached, committed, pinned, quarantined or failed')
    .argument('<id>', "the record's UUID")
    .addOption(userOption('only if it is a record of this user'))
    .addOption(jsonOption())
    .action(async (id: string, { user, json }: { user?: string; json?: true }) => {
      const status = await withMemory((memory) => memory.getStatus(id, user === undefined ? {} : { userId: user }));
      if (json) return printJson(status);
      print(`${colors.bold(status.status)}${status.reason ? `  ${status.reason}` : ''}`);
      for (const [name, at] of Object.entries({
        queued: status.queuedAt,
        cached: status.cachedAt,
        pinned: status.pinnedAt,
      })) {
        if (at) print(`  ${name.padEnd(7)} ${at}`);
      }
      if (status.cid) print(`  CID     ${status.cid}`);
    });
}
