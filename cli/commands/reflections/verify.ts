import { Command } from 'commander';
import { contextOption, jsonOption, userOption } from '../../terminal/arguments.ts';
import type { MemoryCore, ReadOptions, VerificationCheck, VerifyAllOptions } from '../../../producers/index.ts';
import { EXIT } from '../../terminal/exit.ts';
import { counted, mark, print, printJson, type ProgressBar, progressBar } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

/** The number of failures that `--json` lists. The others are only counted. */
const LISTED = 1_000;

interface Options {
  all?: true;
  user?: string;
  context?: string;
  json?: true;
}

interface Result {
  checked: number;
  failed: number;
  /** The number of reflections that were not checked, because they are not pinned yet. */
  unpinned: number;
  /** The documents with failures. `checks` contains only the checks that fail. */
  failures: { id: string; contextId: string; cid: string; reason: string; checks: VerificationCheck[] }[];
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description(
      'check a pinned reflection from its CID to its row and its tokens; exit code 1 when a link does not hold',
    )
    .argument('[cid]', 'CID of a reflection')
    .option('-a, --all', 'every reflection instead of one')
    .addOption(userOption('only of this user'))
    .addOption(contextOption('with --all: only of this conversation'))
    .addOption(jsonOption())
    .addHelpText('after', '\nWhat is not pinned yet has nothing to check: it is counted and fails nothing.')
    .action(async (cid: string | undefined, { all, user, context, json }: Options, command: Command) => {
      if ((cid === undefined) !== (all === true)) command.error('error: expected a CID or --all');
      if (!all && context !== undefined) command.error('error: --context goes with --all');
      const scope = {
        ...(user !== undefined && { userId: user }),
        ...(context !== undefined && { contextId: context }),
      };
      return cid === undefined ? verifyEach(scope, json) : verifyOne(cid, scope, json);
    });
}

async function verifyOne(cid: string, scope: ReadOptions, json: true | undefined): Promise<void> {
  const verification = await withMemory((memory) => memory.verify(cid, scope));
  if (json) printJson(verification);
  else for (const check of verification.checks) printCheck(check);
  process.exitCode = verification.ok ? EXIT.ok : EXIT.failed;
}

async function verifyEach(scope: VerifyAllOptions, json: true | undefined): Promise<void> {
  const result = await withMemory((memory) => collect(memory, scope, json));
  if (json) printJson(result);
  else printResult(result);
  process.exitCode = result.failed === 0 ? EXIT.ok : EXIT.failed;
}

async function collect(memory: MemoryCore, scope: VerifyAllOptions, json: true | undefined): Promise<Result> {
  const result: Result = { checked: 0, failed: 0, unpinned: 0, failures: [] };
  const bar: ProgressBar | null = json ? null : progressBar('verifying', 0);
  try {
    for await (const { id, contextId, cid, pinned, ok, checks, total } of memory.verifyAll(scope)) {
      result[pinned ? 'checked' : 'unpinned'] += 1;
      bar?.update(result.checked + result.unpinned, total);
      if (ok) continue;
      result.failed += 1;
      const failing = checks.filter((check) => !check.ok);
      if (result.failures.length < LISTED)
        result.failures.push({ id, contextId, cid, reason: reasonOf(failing), checks: failing });
    }
    return result;
  } finally {
    bar?.stop();
  }
}

function printResult({ checked, failed, unpinned, failures }: Result): void {
  for (const { id, cid, checks } of failures) {
    print(`${id} ${cid}`);
    for (const check of checks) printCheck(check);
  }
  if (failed > failures.length) print(`… and ${failed - failures.length} more`);
  const waiting = unpinned > 0 ? `; ${unpinned} not pinned yet` : '';
  print(`${mark(failed === 0)} ${counted(checked, 'reflection')} checked, ${failed} failed${waiting}`);
}

function reasonOf(failing: readonly VerificationCheck[]): string {
  return failing.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
}

function printCheck({ name, ok, detail }: VerificationCheck): void {
  print(`${mark(ok)} ${name.padEnd(10)} ${detail}`);
}
