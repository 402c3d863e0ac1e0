import { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { EXIT } from '../exit.ts';
import { colors, mark, print, printJson, progressBar } from '../output.ts';
import { withMemory } from './with-memory.ts';

export function flushCommand(): Command {
  return new Command('flush')
    .description('commit everything that is pending to Supabase, now')
    .option('-b, --batch-size <rows>', 'rows in one request (default: MEMORY_FLUSH_BATCH_SIZE)', wholeNumber)
    .option('-w, --wait <ms>', 'how long to wait for the end', wholeNumber, 600_000)
    .option('--json', 'print the result as JSON')
    .action(async ({ batchSize, wait, json }: { batchSize?: number; wait: number; json?: true }) => {
      await withMemory(async (memory) => {
        const { pendingQueueLength } = await memory.getStats();
        const bar = json ? null : progressBar('flushing', pendingQueueLength);
        const result = await memory
          .flushRedisToSupabase({
            wait,
            ...(batchSize !== undefined && { batchSize }),
            onProgress: ({ flushedCount, failedCount, totalPending }) =>
              bar?.update(flushedCount + failedCount, totalPending),
          })
          .finally(() => bar?.stop());
        if (json) printJson(result);
        else {
          print(
            `${mark(result.success)} ${result.flushedCount} of ${result.totalPending} committed in ${result.batches} batches`,
          );
          if (result.failedCount > 0) print(colors.yellow(`${result.failedCount} refused, see mnemoq quarantine list`));
          if (result.reason !== null) print(colors.red(result.reason));
        }
        process.exitCode = result.success ? EXIT.ok : EXIT.unavailable;
      });
    });
}
