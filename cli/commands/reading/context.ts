/**
 * **cli/commands/reading/**: commands that show records, and numbers about them.
 */
import { Command, Option } from 'commander';
import { cursorOption, jsonOption, limitOption, userOption, wholeNumber } from '../../terminal/arguments.ts';
import type { ContextFormat, ContextRecord } from '../../../producers/index.ts';
import { MAX_ROWS } from '../../../shared/long-term/long-term.ts';
import { colors, counted, print, printJson, say, sayColors, sayMore } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

interface ContextOptions {
  cursor?: string;
  limit?: number;
  recent?: number;
  maxTokens?: number;
  format?: ContextFormat;
  user?: string;
  allowPartial?: true;
  json?: true;
}

export function contextCommand(): Command {
  return new Command('context')
    .description('print a page of a conversation, oldest first, or the newest records that fit')
    .argument('<context>', 'the conversation')
    .addOption(cursorOption())
    .addOption(limitOption('how many (default: 100)', MAX_ROWS))
    .option('--recent <count>', 'instead of a page at most this many of the newest records', wholeNumber(MAX_ROWS))
    .option('--max-tokens <count>', 'instead of a page at most this many tokens of the newest records', wholeNumber())
    .addOption(
      new Option('-f, --format <format>', 'shape of the newest records (default: turns)').choices([
        'turns',
        'messages',
        'tokens',
      ]),
    )
    .addOption(userOption())
    .option('--allow-partial', 'give what Redis has when Supabase is away; exit code 3 without it')
    .addOption(jsonOption())
    .action(async (contextId: string, options: ContextOptions, command: Command) => {
      if ((options.recent ?? options.maxTokens ?? options.format) === undefined) return printPage(contextId, options);
      if ((options.cursor ?? options.limit) !== undefined)
        command.error('error: --cursor and --limit go without --recent, --max-tokens and --format');
      return printRecent(contextId, options);
    });
}

async function printRecent(contextId: string, options: ContextOptions): Promise<void> {
  const { recent, maxTokens, format = 'turns', json } = options;
  await withMemory(async (memory) => {
    const context = await memory.loadRecentContext(contextId, {
      format,
      ...scopeOf(options),
      ...(recent !== undefined && { limit: recent }),
      ...(maxTokens !== undefined && { maxTokens }),
    });
    if (json) return printJson(context);
    for (const item of context.items) {
      if ('role' in item) print(`${colors.bold(item.role)} ${item.content}`);
      else if ('createdAt' in item) printRecord(item);
      else print(JSON.stringify(item));
    }
    say(sayColors.dim(`${counted(context.items.length, 'item')}, ${counted(context.tokenCount, 'token')}`));
    sayIncomplete(context);
  });
}

async function printPage(contextId: string, options: ContextOptions): Promise<void> {
  const { cursor, limit, json } = options;
  await withMemory(async (memory) => {
    const page = await memory.getMemoryContext(contextId, {
      ...scopeOf(options),
      ...(cursor !== undefined && { cursor }),
      ...(limit !== undefined && { limit }),
    });
    if (json) return printJson(page);
    page.items.forEach(printRecord);
    say(sayColors.dim(counted(page.items.length, 'record')));
    sayMore(page);
    sayIncomplete(page);
  });
}

function scopeOf({ user, allowPartial }: ContextOptions): { userId?: string; allowPartial?: boolean } {
  return { ...(user !== undefined && { userId: user }), ...(allowPartial && { allowPartial }) };
}

function sayIncomplete({ complete }: { complete: boolean }): void {
  if (!complete) say(sayColors.yellow('Supabase is away: this is what Redis has'));
}

function printRecord(record: ContextRecord): void {
  print(
    colors.dim(
      `${record.createdAt}  ${record.id}  ${record.module}  ${counted(record.tokenCount, 'token')}${record.cid ? `  ${record.cid}` : ''}`,
    ),
  );
  if (record.text !== undefined) return print(record.text);
  print(`${colors.cyan('user')} ${record.userMessage}`);
  print(`${colors.green('assistant')} ${record.assistantMessage}`);
}
