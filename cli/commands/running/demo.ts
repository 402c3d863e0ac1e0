import path from 'node:path';
import { Command } from 'commander';
import { jsonOption } from '../../terminal/arguments.ts';
import { requireEmbeddedPackages } from '../../../embedded/packages.ts';
import { type EmbeddedParts, startEmbeddedParts } from '../../../embedded/parts.ts';
import { type ChatInput, type FlushResult, MemoryCore, type ReflectionInput } from '../../../producers/index.ts';
import { loadConfig } from '../../../shared/settings/config.ts';
import { readEnvironment } from '../../../shared/settings/environment.ts';
import { VARIABLE_NAMES } from '../../../shared/settings/variables.ts';
import { WORKER_KINDS } from '../../../workers/kinds.ts';
import { CommandEnd, EXIT } from '../../terminal/exit.ts';
import { colors, counted, mark, print, printJson, printTable, say } from '../../terminal/output.ts';
import { untilSignal } from '../../process/until-signal.ts';
import { WorkerProcesses } from '../../process/worker-processes.ts';
import { readSample, saveAll, flushAll, countRows, sameTexts } from './demo-steps.ts';

/** The most tokens that the recalled context may have. */
const BUDGET = 1_500;

interface Check {
  name: string;
  ok: boolean;
  detail: string;
}

interface DemoResult {
  ok: boolean;
  turnsQueued: number;
  tokens: number;
  cached: number;
  flush: FlushResult;
  rowsInSupabase: number;
  reflections: { cid: string | null; visibility: string; verified: boolean }[];
  recalled: { contextId: string; items: number; tokenCount: number; maxTokens: number };
  decodedEqualsInput: boolean;
  checks: Check[];
}

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'run the main job on embedded parts and a sample of 64 turns and 6 reflections, and check every step of it',
    )
    .addOption(jsonOption('print the result as one JSON object'))
    .addHelpText('after', '\nExit code 0 only if every step is as it should be. Data stays in <MNEMOQ_DATA_DIR>/demo.')
    .action(async ({ json }: { json?: true }) => {
      const interrupted = untilSignal().then(() => null);
      const { dataDir } = loadConfig(readEnvironment(), []);
      requireEmbeddedPackages();
      say('starting Redis, Supabase and IPFS …');
      const parts = await startEmbeddedParts(path.join(dataDir, 'demo'));
      // The demo is the same everywhere, so the settings of the user and the .env of this folder do not reach it.
      const environment = { ...parts.environment, MEMORY_LOG_LEVEL: 'warn' };
      const unset = Object.fromEntries(Object.values(VARIABLE_NAMES).map((name) => [name, undefined]));
      const workers = new WorkerProcesses({ ...unset, ...environment }, { cwd: parts.environment['MNEMOQ_DATA_DIR'] });
      const memory = new MemoryCore(environment);
      try {
        const result = await Promise.race([runDemo(memory, workers, parts), interrupted]);
        if (result === null) throw new CommandEnd(EXIT.failed, 'stopped before the end');
        if (json) printJson(result);
        else printResult(result);
        process.exitCode = result.ok ? EXIT.ok : EXIT.failed;
      } finally {
        await memory.close();
        await workers.stop();
        await parts.stop();
      }
    });
}

async function runDemo(memory: MemoryCore, workers: WorkerProcesses, parts: EmbeddedParts): Promise<DemoResult> {
  say('starting the chat, reflection and flush workers …');
  await Promise.all(WORKER_KINDS.map((kind) => workers.start('worker', kind)));
  // Every run has its own conversations, so that records of earlier runs are not counted.
  const run = Date.now().toString(36);
  const own = <T extends { contextId: string }>(each: T): T => ({ ...each, contextId: `${each.contextId}-${run}` });
  const turns = (await readSample<ChatInput>('turns.jsonl')).map(own);
  const reflections = (await readSample<ReflectionInput>('reflections.jsonl')).map(own);
  const contextIds = [...new Set(turns.map(({ contextId }) => contextId))];

  const saved = await saveAll('turns cached', turns, (turn) => memory.saveChat(turn, { wait: true }));
  const tokens = saved.reduce((sum, { tokenCount }) => sum + (tokenCount ?? 0), 0);
  const flush = await flushAll(memory);
  const pinned = await saveAll('reflections pinned', reflections, (reflection) =>
    memory.saveReflection(reflection, { wait: true }),
  );
  const verified = await Promise.all(pinned.map(async ({ cid }) => cid !== null && (await memory.verify(cid)).ok));
  const rowsInSupabase = await countRows(parts, contextIds);
  const [contextId = ''] = contextIds;
  const recalled = await memory.loadRecentContext(contextId, { maxTokens: BUDGET, format: 'messages' });
  const decodedEqualsInput = await sameTexts(memory, contextIds, turns, reflections);

  const expectedRows = turns.length + reflections.length;
  const cids = pinned.map(({ cid }) => cid);
  const result = {
    turnsQueued: saved.length,
    tokens,
    cached: saved.filter(({ tokenCount }) => tokenCount !== null).length,
    flush,
    rowsInSupabase,
    reflections: cids.map((cid, i) => ({
      cid,
      visibility: reflections[i]?.visibility ?? 'private',
      verified: verified[i] ?? false,
    })),
    recalled: { contextId, items: recalled.items.length, tokenCount: recalled.tokenCount, maxTokens: BUDGET },
    decodedEqualsInput,
  };
  const checks: Check[] = [
    {
      name: 'turns queued',
      ok: result.turnsQueued === turns.length,
      detail: `${result.turnsQueued} in ${contextIds.length} conversations`,
    },
    { name: 'tokens', ok: tokens > 0, detail: String(tokens) },
    { name: 'cached in Redis', ok: result.cached === turns.length, detail: `${result.cached} turns` },
    {
      name: 'flushed to Supabase',
      ok: flush.success && flush.failedCount === 0,
      detail: `${counted(flush.flushedCount, 'record')} in ${counted(flush.batches, 'batch', 'batches')}`,
    },
    {
      name: 'rows in Supabase',
      ok: rowsInSupabase === expectedRows,
      detail: `${rowsInSupabase} counted, ${expectedRows} expected`,
    },
    ...result.reflections.map(({ cid, visibility, verified: ok }) => ({
      name: `${visibility} reflection`,
      ok,
      detail: cid ?? 'no CID',
    })),
    {
      name: 'recalled context',
      ok: recalled.items.length > 0 && recalled.tokenCount <= BUDGET,
      detail: `${recalled.items.length} messages, ${recalled.tokenCount} of at most ${BUDGET} tokens`,
    },
    {
      name: 'decoded text',
      ok: decodedEqualsInput,
      detail: decodedEqualsInput ? 'equal to the input, in order' : 'differs from the input',
    },
  ];
  return { ok: checks.every(({ ok }) => ok), ...result, checks };
}

function printResult({ ok, checks }: DemoResult): void {
  printTable(
    ['', 'step', 'result'],
    checks.map((step) => [mark(step.ok), step.name, step.detail]),
  );
  print(ok ? colors.green('Everything is as it should be.') : colors.red('Not everything is as it should be.'));
}
