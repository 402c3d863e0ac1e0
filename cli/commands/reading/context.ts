/**
 * **cli/commands/reading/**: commands that show records and what can be counted in them.
 */
import { Command, Option } from 'commander';
import { jsonOption, wholeNumber } from '../../terminal/arguments.ts';
import type { ContextFormat, ContextRecord } from '../../../producers/index.ts';
import { MAX_ROWS } from '../../../shared/long-term/long-term.ts';
import { colors, counted, print, printJson, say, sayColors } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

interface ContextOptions {
  recent?: number;
  maxTokens?: number;
  format?: ContextFormat;
  json?: true;
}

export function contextCommand(): Command {
  return new Command('context')
    .description('print a conversation, oldest first; all of it, or the newest that fit')
    .argument('<contextId>', 'the conversation')
    .option('--recent <count>', 'at most this many of the newest records', wholeNumber(MAX_ROWS))
    .option('--max-tokens <count>', 'at most this many tokens of the newest records', wholeNumber())
    .addOption(
      new Option('-f, --format <format>', 'shape of the newest records (default: turns)').choices([
        'turns',
        'messages',
        'tokens',
      ]),
    )
    .addOption(jsonOption('print JSON; the whole conversation as one object a line'))
    .action((contextId: string, options: ContextOptions) =>
      (options.recent ?? options.maxTokens ?? options.format)
        ? printRecent(contextId, options)
        : printConversation(contextId, options),
    );
}

async function printRecent(
  contextId: string,
  { recent, maxTokens, format = 'turns', json }: ContextOptions,
): Promise<void> {
  await withMemory(async (memory) => {
    const context = await memory.loadRecentContext(contextId, {
      format,
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
  });
}

async function printConversation(contextId: string, { json }: ContextOptions): Promise<void> {
  await withMemory(async (memory) => {
    let count = 0;
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await memory.getMemoryContext(contextId, { limit: 1000, ...(cursor && { cursor }) });
      const show = json ? (record: ContextRecord) => print(JSON.stringify(record)) : printRecord;
      page.items.forEach(show);
      count += page.items.length;
      cursor = page.nextCursor;
    }
    if (!json) say(sayColors.dim(counted(count, 'record')));
  });
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
