import { Command } from 'commander';
import { contextOption, jsonOption, userOption } from '../../terminal/arguments.ts';
import type { ForgetOptions } from '../../../producers/index.ts';
import { CommandEnd, EXIT } from '../../terminal/exit.ts';
import { mark, print, printJson, printTable } from '../../terminal/output.ts';
import { watchForSilence, withMemory } from '../with-memory.ts';

interface Options {
  user?: string;
  context?: string;
  yes?: true;
  lift?: true;
  json?: true;
}

export function forgetCommand(): Command {
  return new Command('forget')
    .description('erase a user, a conversation, or a user in a conversation from every tier; there is no way back')
    .addOption(userOption('whose records'))
    .addOption(contextOption('of which conversation'))
    .option('-y, --yes', 'really erase it; without this nothing happens')
    .option('--lift', 'take records of an erased user or conversation again')
    .addOption(jsonOption('print the receipt as JSON'))
    .addHelpText(
      'after',
      '\nWhat comes late for an erased user or conversation is refused until the erasure is lifted. Safe to run again.' +
        '\nThe receipt is signed where MEMORY_SIGNING_KEY is set. Reflections are unpinned through IPFS_API_URL.',
    )
    .action(async ({ user, context, yes, lift, json }: Options) => {
      const scope = {
        ...(user !== undefined && { userId: user }),
        ...(context !== undefined && { contextId: context }),
      };
      if (user === undefined && context === undefined)
        throw new CommandEnd(EXIT.usage, 'give --user, --context or both');
      if (lift) return liftErasure(scope, json);
      if (!yes) throw new CommandEnd(EXIT.usage, 'this erases it for ever: add --yes');
      await erase(scope, json);
    });
}

async function erase(scope: ForgetOptions, json: true | undefined): Promise<void> {
  const receipt = await withMemory(async (memory) => {
    const silence = watchForSilence('waiting for workers to let go of what they have in hand');
    return memory.forget(scope).finally(() => silence.stop());
  });
  if (json) return printJson(receipt);
  print(`${mark(true)} erased; receipt ${receipt.id}${receipt.signature === null ? '' : ', signed'}`);
  printTable(['tier', 'erased'], Object.entries(receipt.tiers));
}

async function liftErasure(scope: ForgetOptions, json: true | undefined): Promise<void> {
  const lifted = await withMemory((memory) => memory.liftErasure(scope));
  if (json) printJson({ lifted });
  else print(lifted ? `${mark(true)} its records are taken again` : `${mark(false)} it was not erased`);
  process.exitCode = lifted ? EXIT.ok : EXIT.failed;
}
