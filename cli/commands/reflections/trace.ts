import { Command } from 'commander';
import { cursorOption, jsonOption, limitOption, userOption } from '../../terminal/arguments.ts';
import type { TraceLink } from '../../../producers/index.ts';
import { EXIT } from '../../terminal/exit.ts';
import { counted, mark, print, printJson, sayMore } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

interface Options {
  user?: string;
  cursor?: string;
  limit: number;
  json?: true;
}

export function traceCommand(): Command {
  return new Command('trace')
    .description('where a reflection comes from, link by link; exit code 1 when one of them is missing')
    .argument('<reflection>', 'its CID or its id')
    .addOption(userOption('only what is of this user'))
    .addOption(cursorOption())
    .addOption(limitOption('how many reflections back', 100, 20))
    .addOption(jsonOption())
    .action(async (reflection: string, { json, user, ...options }: Options) => {
      const whose = user === undefined ? {} : { userId: user };
      const trace = await withMemory((memory) => memory.traceReflection(reflection, { ...options, ...whose }));
      if (json) printJson(trace);
      else for (const link of trace.items) printLink(link);
      if (!json) sayMore(trace);
      process.exitCode = trace.complete ? EXIT.ok : EXIT.failed;
    });
}

function printLink({ cid, reflection, sources }: TraceLink): void {
  if (!reflection) return print(`${mark(false)} ${cid}  missing`);
  print(`${mark(true)} ${cid}  ${reflection.createdAt}  ${counted(sources.length, 'source')}`);
  for (const { id, missing, module, createdAt } of sources) {
    print(`  ${mark(!missing)} ${id}  ${missing ? 'missing' : `${createdAt}  ${module}`}`);
  }
}
