import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { MnemoqError } from '../../shared/errors.ts';
import { EXIT } from '../exit.ts';
import { mark, print, printJson, printTable } from '../output.ts';
import { withMemory } from './with-memory.ts';

export function quarantineCommand(): Command {
  const command = new Command('quarantine').description('records Supabase refused for their content');
  command
    .command('list')
    .description('what is in quarantine and why, oldest first')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: true }) => {
      const records = await withMemory((memory) => memory.listQuarantined());
      if (json) return printJson(records);
      if (records.length === 0) return print('nothing is in quarantine');
      printTable(
        ['id', 'conversation', 'since', 'code', 'reason'],
        records.map((record) => [record.id, record.contextId, record.quarantinedAt, record.code, record.message]),
      );
    });
  command
    .command('retry')
    .description('try records again after mending them or the database; exit code 1 when one is refused again')
    .argument('[id...]', 'which; all without it')
    .option('-r, --row <file>', 'JSON of the mended row, for one id')
    .option('--json', 'print JSON')
    .action(async (ids: string[], { row: file, json }: { row?: string; json?: true }) => {
      const row = file === undefined ? undefined : readRow(file, ids);
      await withMemory(async (memory) => {
        const chosen = ids.length > 0 ? ids : (await memory.listQuarantined()).map(({ id }) => id);
        const results = [];
        for (const id of chosen) {
          const result = { id, ...(await memory.retryQuarantined(id, row)) };
          results.push(result);
          if (!json) print(`${mark(result.committed)} ${id} ${result.reason ?? 'committed'}`);
        }
        if (json) printJson(results);
        else if (results.length === 0) print('nothing is in quarantine');
        process.exitCode = results.every(({ committed }) => committed) ? EXIT.ok : EXIT.failed;
      });
    });
  return command;
}

function readRow(file: string, ids: readonly string[]): unknown {
  if (ids.length !== 1) throw new MnemoqError('invalid_input', '--row: expected exactly one id with it');
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new MnemoqError('invalid_input', `--row: expected a file with one JSON object, ${file} is not`, {
      cause: error,
    });
  }
}
