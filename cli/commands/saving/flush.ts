import { Command } from 'commander';
import { jsonOption, waitOption, wholeNumber } from '../../terminal/arguments.ts';
import { EXIT } from '../../terminal/exit.ts';
import { MAX_ROWS } from '../../../shared/long-term/long-term.ts';
import { colors, counted, mark, print, printJson, progressBar } from '../../terminal/output.ts';
import { watchForSilence, withMemory } from '../with-memory.ts';

export function flushCommand(): Command {
  return new Command('flush')
    .description('commit everything that is pending to Supabase, now')
    .option('--batch-size <rows>', 'rows in one request (default: MEMORY_FLUSH_BATCH_SIZE)', wholeNumber(MAX_ROWS))
    .addOption(waitOption('how long to wait for the end, which it does in any case', 600_000))
    .addOption(jsonOption('print the result as JSON'))
    .addHelpText(
      'after',
      '\nExit code 1 when a record was refused, 3 when Supabase could not take them; they are kept.',
    )
    .action(async ({ batchSize, wait, json }: { batchSize?: number; wait?: number; json?: true }) => {
      await withMemory(async (memory) => {
        const { pendingQueueLength } = await memory.getStats();
        const bar = json ? null : progressBar('flushing', pendingQueueLength);
        const silence = watchForSilence('nothing moves yet: is a flush worker running? (mnemoq worker flush)');
        const result = await memory
          .flushRedisToSupabase({
            ...(wait !== undefined && { wait }),
            ...(batchSize !== undefined && { batchSize }),
            onProgress: ({ flushedCount, failedCount, totalPending }) => {
              silence.moved();
              bar?.update(flushedCount + failedCount, totalPending);
            },
          })
          .finally(() => {
            silence.stop();
            bar?.stop();
          });
        if (json) printJson(result);
        else {
          print(
            `${mark(result.success)} ${result.flushedCount} of ${result.totalPending} committed in ${counted(result.batches, 'batch', 'batches')}`,
          );
          if (result.failedCount > 0) print(colors.yellow(`${result.failedCount} refused, see mnemoq quarantine list`));
          if (result.reason !== null) print(colors.red(result.reason));
        }
        if (!result.success) process.exitCode = EXIT.unavailable;
        else process.exitCode = result.failedCount === 0 ? EXIT.ok : EXIT.failed;
      });
    });
}
