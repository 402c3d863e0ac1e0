import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { cursorOption, jsonOption, limitOption, userOption, waitOption } from '../../terminal/arguments.ts';
import type { MemoryCore } from '../../../producers/index.ts';
import { isError, MnemoqError } from '../../../shared/errors.ts';
import { EXIT } from '../../terminal/exit.ts';
import { mark, print, printJson, printTable, sayMore } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

interface ListOptions {
  user?: string;
  cursor?: string;
  limit: number;
  json?: true;
}

interface RetryOptions {
  row?: string;
  wait?: number | true;
  json?: true;
}

export function quarantineCommand(): Command {
  const command = new Command('quarantine').description('records Supabase refused for their content');
  command
    .command('list')
    .description('what is in quarantine and why, oldest first')
    .addOption(userOption())
    .addOption(cursorOption())
    .addOption(limitOption('how many', 1_000, 100))
    .addOption(jsonOption())
    .action(async ({ json, user, ...options }: ListOptions) => {
      const whose = user === undefined ? {} : { userId: user };
      const page = await withMemory((memory) => memory.listQuarantined({ ...options, ...whose }));
      if (json) return printJson(page);
      if (page.items.length === 0) return print('nothing is in quarantine');
      printTable(
        ['id', 'conversation', 'user', 'when', 'code', 'reason'],
        page.items.map(({ id, contextId, userId, quarantinedAt, supabaseCode, reason }) => [
          id,
          contextId,
          userId,
          quarantinedAt,
          supabaseCode,
          reason,
        ]),
      );
      sayMore(page);
    });
  command
    .command('retry')
    .description('try records again after mending them or the database; exit code 1 when one is refused again')
    .argument('[id...]', 'which; all without it')
    .option('-r, --row <file>', 'JSON of the mended row, for one id')
    .addOption(waitOption('how long to wait for the end of each, which it does in any case'))
    .addOption(jsonOption())
    .action(async (ids: string[], { row: file, wait = true, json }: RetryOptions) => {
      const row = file === undefined ? undefined : readRow(file, ids);
      await withMemory(async (memory) => {
        const listed = ids.length > 0 ? [] : await listAll(memory);
        const results = [];
        for (const id of [...ids, ...listed]) {
          const retried = ids.length > 0 ? memory.retryQuarantined(id, { row, wait }) : retryListed(id, wait, memory);
          const result = { id, ...(await retried) };
          results.push(result);
          if (!json) print(`${mark(result.committed)} ${id} ${result.reason ?? 'committed'}`);
        }
        if (json) printJson({ items: results, nextCursor: null, complete: true });
        else if (results.length === 0) print('nothing is in quarantine');
        process.exitCode = results.every(({ committed }) => committed) ? EXIT.ok : EXIT.failed;
      });
    });
  return command;
}

/**
 * Lists all of them before the first retry. A record that is refused again goes to the end of the list, so a list that is read
 * during the retries might never end.
 */
async function listAll(memory: MemoryCore): Promise<string[]> {
  const ids = new Set<string>();
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await memory.listQuarantined({ limit: 1_000, ...(cursor && { cursor }) });
    for (const { id } of page.items) ids.add(id);
    cursor = page.nextCursor;
  }
  return [...ids];
}

/** Retries one record of all. A job that is malformed, or that has left the queue, must not keep the others from their retry. */
async function retryListed(
  id: string,
  wait: number | true,
  memory: MemoryCore,
): ReturnType<MemoryCore['retryQuarantined']> {
  try {
    return await memory.retryQuarantined(id, { wait });
  } catch (error) {
    if (isError(error, 'invalid_input') || isError(error, 'not_found'))
      return { committed: false, reason: error.message };
    throw error;
  }
}

function readRow(file: string, ids: readonly string[]): unknown {
  if (ids.length !== 1) throw new MnemoqError('invalid_input', '--row: expected exactly one id with it');
  try {
    return JSON.parse(readFileSync(file, 'utf8').replace(/^\uFEFF/, '')); // some editors write a byte order mark at the start
  } catch {
    // A syntax error is not passed on as the cause, because it quotes the content of the file.
    throw new MnemoqError('invalid_input', `--row: expected a file with one JSON object, ${file} is not`);
  }
}
