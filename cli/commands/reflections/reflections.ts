/**
 * **cli/commands/reflections/**: commands about reflections and knowledge.
 */
import { Command, Option } from 'commander';
import {
  contextOption,
  cursorOption,
  fromOption,
  jsonOption,
  limitOption,
  toOption,
  userOption,
} from '../../terminal/arguments.ts';
import type { ReflectionsOptions } from '../../../producers/index.ts';
import { PINNED_MODULES } from '../../../shared/records/records.ts';
import { printJson, printTable, say, sayMore } from '../../terminal/output.ts';
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
    .addOption(userOption('of one user'))
    .addOption(contextOption('of one conversation'))
    .addOption(new Option('-m, --module <name>', 'of one kind').choices(PINNED_MODULES))
    .addOption(fromOption('from this moment on: ISO 8601 with zone'))
    .addOption(toOption('before this moment: ISO 8601 with zone'))
    .option('--cid <cid>', 'what has this CID')
    .addOption(cursorOption())
    .addOption(limitOption('how many', 1_000, 100))
    .addOption(jsonOption())
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
      sayMore(page);
    });
}
