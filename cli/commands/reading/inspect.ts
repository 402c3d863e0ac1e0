import { Command } from 'commander';
import { jsonOption, userOption } from '../../terminal/arguments.ts';
import { MemoryCore } from '../../../producers/index.ts';
import { colors, counted, print, printJson } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('a record with its text and its tokens')
    .argument('<id>', "the record's UUID")
    .addOption(userOption('only if it is a record of this user'))
    .addOption(jsonOption())
    .action(async (id: string, { user, json }: { user?: string; json?: true }) => {
      await withMemory(async (memory) => {
        const inspection = await memory.inspect(id, user === undefined ? {} : { userId: user });
        if (json) return printJson(inspection);
        const { record, tokens, foundIn } = inspection;
        print(`${colors.bold(record.id)}  ${record.module}  ${record.createdAt}  in ${foundIn}  ${tokens.encoding}`);
        const parts = 'text' in tokens ? { text: tokens.text } : { user: tokens.user, assistant: tokens.assistant };
        for (const [name, ids] of Object.entries(parts)) {
          print(`${colors.bold(name)} (${counted(ids.length, 'token')})`);
          print(paint(memory, ids, tokens.encoding));
          print(colors.dim(ids.join(' ')));
        }
      });
    });
}

/** Shows tokens as pieces with alternating colours. A character may consist of several tokens, which then show as one piece. */
function paint(memory: MemoryCore, ids: readonly number[], encoding: Parameters<MemoryCore['decode']>[1]): string {
  const paints = [colors.cyan, colors.yellow];
  const pieces: string[] = [];
  for (let start = 0, end = 1; end <= ids.length; end++) {
    const piece = memory.decode(ids.slice(start, end), encoding);
    if (piece.includes('�') && end < ids.length && end - start < 8) continue;
    pieces.push((paints[pieces.length % 2] ?? String)(piece));
    start = end;
  }
  return pieces.join('');
}
