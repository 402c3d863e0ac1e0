import { Command } from 'commander';
import { contextOption, jsonOption, limitOption, userOption } from '../../terminal/arguments.ts';
import type { SearchHit } from '../../../producers/index.ts';
import { EXIT } from '../../terminal/exit.ts';
import { colors, counted, print, printJson, say, sayColors } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

interface Options {
  context?: string;
  user?: string;
  limit?: number;
  json?: true;
}

export function searchCommand(): Command {
  return new Command('search')
    .description('find the records that have most of some words, best first; exit code 1 when there are none')
    .argument('<query...>', 'the words, in any script')
    .addOption(contextOption('only this conversation'))
    .addOption(userOption("only this user's records"))
    .addOption(limitOption('at most this many records (default: 10)', 100))
    .addOption(jsonOption())
    .action(async (words: string[], { context, user, limit, json }: Options) => {
      const result = await withMemory((memory) =>
        memory.search({
          query: words.join(' '),
          ...(context !== undefined && { contextId: context }),
          ...(user !== undefined && { userId: user }),
          ...(limit !== undefined && { limit }),
        }),
      );
      const { items, sealed, complete } = result;
      if (items.length === 0) process.exitCode = EXIT.failed;
      if (json) return printJson(result);
      items.forEach(printHit);
      say(sayColors.dim(counted(items.length, 'record')));
      if (sealed > 0) say(`${counted(sealed, 'record')} passed over: their tokens are encrypted`);
      else if (!complete) say('more records are uncommitted than one search looks through: run mnemoq flush');
    });
}

function printHit({ score, createdAt, id, contextId, module, text, userMessage, assistantMessage }: SearchHit): void {
  print(`${colors.bold(score.toFixed(2))}  ${colors.dim(`${createdAt}  ${id}  ${module}`)}  ${contextId}`);
  if (text !== undefined) return print(text);
  print(`${colors.cyan('user')} ${userMessage}`);
  print(`${colors.green('assistant')} ${assistantMessage}`);
}
