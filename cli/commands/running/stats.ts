import { Command } from 'commander';
import { jsonOption } from '../../terminal/arguments.ts';
import { colors, mark, print, printJson, printTable } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

/** The states of jobs that get a column. BullMQ knows more. */
const COLUMNS = ['waiting', 'active', 'delayed', 'completed', 'failed'];

export function statsCommand(): Command {
  return new Command('stats')
    .description('lengths, ages and limits, and whether anything needs attention')
    .addOption(jsonOption())
    .action(async ({ json }: { json?: true }) => {
      const stats = await withMemory((memory) => memory.getStats());
      if (json) return printJson(stats);
      print(`${mark(stats.status === 'ok')} ${stats.status}`);
      for (const reason of stats.reasons) print(colors.yellow(`  ${reason}`));
      printTable(
        ['queue', ...COLUMNS],
        Object.entries(stats.queues).map(([name, counts]) => [name, ...COLUMNS.map((column) => counts[column] ?? 0)]),
      );
      print('');
      printTable(
        ['what', 'value'],
        [
          ['pending records', stats.pendingQueueLength],
          [
            'oldest pending',
            stats.oldestPendingAgeMs === null ? 'none' : `${(stats.oldestPendingAgeMs / 1000).toFixed(1)} s`,
          ],
          ['quarantined', `${stats.quarantined} (${stats.quarantinedLately} within ten minutes)`],
          ['short-term', `${stats.shortTermLimit} records a conversation, ${stats.ttlSeconds} s after the last flush`],
          ['encoding', stats.encoding],
          [
            'Redis memory',
            `${mebibytes(stats.redisUsedBytes)} of ${stats.redisMaxBytes === 0 ? 'no limit' : mebibytes(stats.redisMaxBytes)}`,
          ],
        ],
      );
    });
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
