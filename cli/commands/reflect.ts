import { text as readText } from 'node:stream/consumers';
import { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { colors, print, printJson, say } from '../output.ts';
import { watchForSilence, withMemory } from './with-memory.ts';

interface ReflectOptions {
  userId?: string;
  public?: true;
  source?: string[];
  idempotencyKey?: string;
  wait: number;
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
    .option('-w, --wait <ms>', 'how long to wait for the CID', wholeNumber(600_000), 30_000)
    .option('--json', 'print the receipt as JSON')
    .action(async (contextId: string, text: string | undefined, options: ReflectOptions) => {
      const receipt = await withMemory(async (memory) => {
        const input = {
          contextId,
          reflectionText: text ?? (await readStandardInput()),
          visibility: options.public ? ('public' as const) : ('private' as const),
          ...(options.userId !== undefined && { userId: options.userId }),
          ...(options.source && { sourceIds: options.source }),
          ...(options.idempotencyKey !== undefined && { idempotencyKey: options.idempotencyKey }),
        };
        const silence = watchForSilence('not pinned yet: is a reflection worker running? (mnemoq worker reflection)');
        return memory.saveReflection(input, { wait: options.wait }).finally(() => silence.stop());
      });
      if (options.json) return printJson(receipt);
      print(`${receipt.note}: ${receipt.id}`);
      if (receipt.cid) print(`${colors.bold('CID')} ${receipt.cid}`);
    });
}

async function readStandardInput(): Promise<string> {
  if (process.stdin.isTTY) say('reading the reflection from standard input; Ctrl-D ends it');
  return (await readText(process.stdin)).trimEnd();
}
