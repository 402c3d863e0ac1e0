import { Command } from 'commander';
import { jsonOption, userOption, waitOption } from '../../terminal/arguments.ts';
import { MnemoqError } from '../../../shared/errors.ts';
import { TEXT_BYTES } from '../../../shared/records/jobs.ts';
import { colors, print, printJson, say } from '../../terminal/output.ts';
import { watchForSilence, withMemory } from '../with-memory.ts';

/** White space at the end of standard input is not part of the text. Nobody writes more of it than this on purpose. */
const LINE_END_BYTES = 1_000;

interface ReflectOptions {
  user?: string;
  public?: true;
  source?: string[];
  idempotencyKey?: string;
  request?: true;
  focus?: string;
  wait?: number;
  json?: true;
}

export function reflectCommand(): Command {
  return new Command('reflect')
    .description('save a reflection on a conversation: committed, signed, encrypted unless public, and pinned to IPFS')
    .argument('<context>', 'the conversation')
    .argument('[text]', 'the reflection; read from standard input when left out')
    .addOption(userOption('whose reflection it is'))
    .option('--public', 'pin it in clear, for everybody; private without it')
    .option('-s, --source <id...>', 'ids of the turns it came from')
    .option('--idempotency-key <key>', 'saving again with the same key changes nothing')
    .option('--request', 'ask the reflector for one instead, and do not wait for it')
    .option('--focus <words>', 'with --request: what it should be about')
    .addOption(waitOption('wait until it is pinned, at most this long'))
    .addOption(jsonOption('print the receipt as JSON'))
    .allowExcessArguments()
    .action(async (contextId: string, text: string | undefined, options: ReflectOptions, command: Command) => {
      // The refusal of commander would quote the arguments. The likely mistake is a text without quotation marks.
      const { length } = command.args;
      if (length > 2) command.error(`error: expected the text in quotes, as one argument; received ${length - 1}`);
      if (options.request) return request(contextId, text, options, command);
      if (options.focus !== undefined) command.error('error: --focus goes with --request');
      const receipt = await withMemory(async (memory) => {
        const input = {
          contextId,
          reflectionText: text ?? (await readStandardInput()),
          visibility: options.public ? ('public' as const) : ('private' as const),
          ...(options.user !== undefined && { userId: options.user }),
          ...(options.source && { sourceIds: options.source }),
          ...(options.idempotencyKey !== undefined && { idempotencyKey: options.idempotencyKey }),
        };
        const silence = watchForSilence('not pinned yet: is a reflection worker running? (mnemoq worker reflection)');
        return memory.saveReflection(input, { wait: options.wait ?? false }).finally(() => silence.stop());
      });
      if (options.json) return printJson(receipt);
      print(`${receipt.note}: ${receipt.id}`);
      if (receipt.cid) print(`${colors.bold('CID')} ${receipt.cid}`);
    });
}

async function request(
  contextId: string,
  text: string | undefined,
  { user, focus, json }: ReflectOptions,
  command: Command,
): Promise<void> {
  if (text !== undefined)
    command.error('error: with --request the text is the reflector’s; say --focus what it is about');
  const asked = await withMemory((memory) =>
    memory.requestReflection({
      contextId,
      ...(user !== undefined && { userId: user }),
      ...(focus !== undefined && { focus }),
    }),
  );
  if (json) printJson(asked);
  else print(asked.note);
}

async function readStandardInput(): Promise<string> {
  if (process.stdin.isTTY) say('reading the reflection from standard input; Ctrl-D ends it');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    chunks.push(chunk);
    if (size > TEXT_BYTES + LINE_END_BYTES) throw tooLong();
  }
  return Buffer.concat(chunks).toString().trimEnd();
}

function tooLong(): MnemoqError {
  const problem = {
    field: 'reflectionText',
    expected: `at most ${TEXT_BYTES} bytes of UTF-8`,
    received: 'more on standard input',
  };
  const message = `the reflection is not valid: reflectionText: expected ${problem.expected}, received ${problem.received}`;
  return new MnemoqError('invalid_input', message, { problems: [problem] });
}
