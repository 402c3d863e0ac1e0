import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { colors, print, printJson } from '../output.ts';
import { withMemory } from './with-memory.ts';

interface ReflectOptions {
  userId?: string;
  public?: true;
  source?: string[];
  idempotencyKey?: string;
  wait?: number;
  json?: true;
}

export function reflectCommand(): Command {
  return new Command('reflect')
    .description('save a reflection on a conversation: committed, signed, encrypted unless public, and pinned to IPFS')
    .argument('<contextId>', 'the conversation')
    .argument('[text]', 'the reflection; read from standard input when left out')
    .option('-u, --user-id <id>', 'whose reflection it is')
    .option('--public', 'pin it in clear, for everybody; private without it')
    .option('-s, --source <id...>', 'ids of the turns it came from')
    .option('-k, --idempotency-key <key>', 'saving again with the same key changes nothing')
    .option('-w, --wait <ms>', 'how long to wait for the CID', wholeNumber, 30_000)
    .option('--json', 'print the receipt as JSON')
    .action(async (contextId: string, text: string | undefined, options: ReflectOptions) => {
      const input = {
        contextId,
        reflectionText: text ?? readFileSync(0, 'utf8').trimEnd(),
        visibility: options.public ? ('public' as const) : ('private' as const),
        ...(options.userId !== undefined && { userId: options.userId }),
        ...(options.source && { sourceIds: options.source }),
        ...(options.idempotencyKey !== undefined && { idempotencyKey: options.idempotencyKey }),
      };
      const receipt = await withMemory((memory) => memory.saveReflection(input, { wait: options.wait ?? true }));
      if (options.json) return printJson(receipt);
      print(`${receipt.note}: ${receipt.id}`);
      if (receipt.cid) print(`${colors.bold('CID')} ${receipt.cid}`);
    });
}
