import { Command } from 'commander';
import {
  contextOption,
  cursorOption,
  jsonOption,
  limitOption,
  userOption,
  waitOption,
} from '../../terminal/arguments.ts';
import { colors, print, printJson, printTable, sayMore } from '../../terminal/output.ts';
import { watchForSilence, withMemory } from '../with-memory.ts';

interface ListOptions {
  query?: string;
  user?: string;
  limit: number;
  cursor?: string;
  json?: true;
}

interface ImportOptions {
  context?: string;
  user?: string;
  trustedKey?: string[];
  wait?: number;
  json?: true;
}

/** Gives the part of a text that fits into a line of a table. */
const SHOWN = 60;

export function knowledgeCommand(): Command {
  const command = new Command('knowledge').description('what was shared as public, by its CID');
  command
    .command('list')
    .description('knowledge items with their CIDs, newest first')
    .option('-q, --query <text>', 'only items that contain it')
    .addOption(userOption("only this user's and what belongs to nobody"))
    .addOption(limitOption('how many', 1000, 100))
    .addOption(cursorOption())
    .addOption(jsonOption())
    .action(async ({ json, user, ...options }: ListOptions) => {
      const scoped = { ...options, ...(user !== undefined && { userId: user }) };
      const page = await withMemory((memory) => memory.listKnowledge(scoped));
      if (json) return printJson(page);
      if (page.items.length === 0) print('no knowledge was shared');
      else printTable(['CID', 'conversation', 'when', 'text'], page.items.map(toLine));
      sayMore(page);
    });
  command
    .command('import')
    .description('take over an item of another Mnemoq; exit code 1 when its CID, signature or digest does not hold')
    .argument('<cid>', 'the CID of its document')
    .addOption(contextOption('the conversation to file it in; the one its document names without it'))
    .addOption(userOption('whose it is here; nobody in particular without it'))
    .option('-t, --trusted-key <key...>', 'take it only if one of these Ed25519 public keys (base64url) has signed it')
    .addOption(waitOption('wait until it is pinned here, at most this long'))
    .addOption(jsonOption('print the receipt as JSON'))
    .action(async (cid: string, { context, user, trustedKey, wait, json }: ImportOptions) => {
      const request = {
        cid,
        ...(context !== undefined && { contextId: context }),
        ...(user !== undefined && { userId: user }),
        ...(trustedKey && { trustedKeys: trustedKey }),
      };
      const receipt = await withMemory(async (memory) => {
        const silence = watchForSilence('not here yet: is a reflection worker running? (mnemoq worker reflection)');
        return memory.importKnowledge(request, { wait: wait ?? false }).finally(() => silence.stop());
      });
      if (json) return printJson(receipt);
      print(`${receipt.note}: ${receipt.id}`);
      if (receipt.cid) print(`${colors.bold('CID')} ${receipt.cid}`);
    });
  return command;
}

function toLine(item: { cid: string; contextId: string; createdAt: string; text: string }): string[] {
  const text = item.text.replaceAll(/\s+/g, ' ');
  return [item.cid, item.contextId, item.createdAt, text.length > SHOWN ? `${text.slice(0, SHOWN - 1)}…` : text];
}
