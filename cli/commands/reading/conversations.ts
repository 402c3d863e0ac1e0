import { Command } from 'commander';
import { cursorOption, jsonOption, limitOption, userOption } from '../../terminal/arguments.ts';
import { printJson, printTable, say, sayMore } from '../../terminal/output.ts';
import { MAX_ROWS } from '../../../shared/long-term/long-term.ts';
import { withMemory } from '../with-memory.ts';

interface Options {
  prefix?: string;
  user?: string;
  cursor?: string;
  limit: number;
  json?: true;
}

export function conversationsCommand(): Command {
  return new Command('conversations')
    .description('conversations in the order of their ids')
    .option('--prefix <text>', 'only those whose id begins with it')
    .addOption(userOption('only those in which this user has records'))
    .addOption(cursorOption())
    .addOption(limitOption('how many', MAX_ROWS, 100))
    .addOption(jsonOption())
    .action(async ({ json, user, ...options }: Options) => {
      const whose = user === undefined ? {} : { userId: user };
      const page = await withMemory((memory) => memory.listConversations({ ...options, ...whose }));
      if (json) return printJson(page);
      if (page.items.length === 0) return say('there are none');
      const rows = page.items.map(({ contextId, lastCreatedAt }) => [contextId, lastCreatedAt ?? 'not committed yet']);
      printTable(['conversation', 'newest record'], rows);
      sayMore(page);
    });
}
