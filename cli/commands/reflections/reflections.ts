/**
 * **cli/commands/reflections/**: commands about reflections and knowledge.
 */
import { Command, Option } from 'commander';
import type { ReflectionsOptions } from '../../../producers/index.ts';
import { PINNED_MODULES } from '../../../shared/records/records.ts';
import { wholeNumber } from '../../terminal/arguments.ts';
import { printJson, printTable, say } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

interface Options {
  user?: string;
  context?: string;
  module?: ReflectionsOptions['module'];
  from?: string;
  to?: string;
  cid?: string;
  cursor?: string;
  limit: number;
  json?: true;
}

export function reflectionsCommand(): Command {
  return new Command('reflections')
    .description('reflections, fine-tune outputs and knowledge of all conversations, newest first')
    .option('-u, --user <id>', 'of one user')
    .option('-c, --context <id>', 'of one conversation')
    .addOption(new Option('-m, --module <name>', 'of one kind').choices(PINNED_MODULES))
    .option('--from <moment>', 'from this moment on: ISO 8601 with zone')
    .option('--to <moment>', 'before this moment: ISO 8601 with zone')
    .option('--cid <cid>', 'what has this CID')
    .option('--cursor <cursor>', 'the next page: the nextCursor of the one before')
    .option('-l, --limit <count>', 'how many', wholeNumber(1_000), 100)
    .option('--json', 'print JSON')
    .action(async ({ json, user, context, ...options }: Options) => {
      const whose = {
        ...(user !== undefined && { userId: user }),
        ...(context !== undefined && { contextId: context }),
      };
      const page = await withMemory((memory) => memory.listReflections({ ...options, ...whose }));
      if (json) return printJson(page);
      if (page.items.length === 0) return say('there are none');
      printTable(
        ['when', 'kind', 'conversation', 'user', 'sources', 'before it', 'CID'],
        page.items.map(({ createdAt, module, contextId, userId, sourceIds, previousMissing, cid, pinnedAt }) => [
          createdAt,
          module,
          contextId,
          userId,
          sourceIds.length,
          previousMissing === null ? 'none' : previousMissing ? 'missing' : 'there',
          pinnedAt === null ? `${cid} (not pinned yet)` : cid,
        ]),
      );
      if (page.nextCursor !== null) say(`more with --cursor ${page.nextCursor}`);
    });
}
