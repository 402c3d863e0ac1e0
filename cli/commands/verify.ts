import { Command } from 'commander';
import { EXIT } from '../exit.ts';
import { mark, print, printJson } from '../output.ts';
import { withMemory } from './with-memory.ts';

export function verifyCommand(): Command {
  return new Command('verify')
    .description(
      'check a pinned reflection from its CID to its row and its tokens; exit code 1 when a link does not hold',
    )
    .argument('<cid>', 'CID of a reflection')
    .option('--json', 'print JSON')
    .action(async (cid: string, { json }: { json?: true }) => {
      const verification = await withMemory((memory) => memory.verify(cid));
      if (json) printJson(verification);
      else for (const { name, ok, detail } of verification.checks) print(`${mark(ok)} ${name.padEnd(10)} ${detail}`);
      process.exitCode = verification.ok ? EXIT.ok : EXIT.failed;
    });
}
