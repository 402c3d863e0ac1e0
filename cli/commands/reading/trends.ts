import { Command, Option } from 'commander';
import { contextOption, fromOption, jsonOption, toOption, userOption } from '../../terminal/arguments.ts';
import type { TrendBucket, TrendsOptions } from '../../../producers/index.ts';
import { colors, print, printJson, printTable, say } from '../../terminal/output.ts';
import { withMemory } from '../with-memory.ts';

interface Options {
  user?: string;
  context?: string;
  from?: string;
  to?: string;
  bucket: TrendsOptions['bucket'];
  timeZone: string;
  json?: true;
}

/** The number of days that each bucket shows when no other time is given: about thirty bars. */
const DAYS = { hour: 1, day: 30, week: 210 } as const;
const DAY_MS = 86_400_000;
const BAR_LENGTH = 30;

export function trendsCommand(): Command {
  return new Command('trends')
    .description('turns, tokens and reflections over time, of everybody, a user or a conversation')
    .addOption(userOption('of one user'))
    .addOption(contextOption('of one conversation'))
    .addOption(fromOption('ISO 8601 with zone (default: a day, 30 days or 30 weeks back)'))
    .addOption(toOption('ISO 8601 with zone (default: now)'))
    .addOption(new Option('-b, --bucket <length>', 'how long a bucket is').choices(Object.keys(DAYS)).default('day'))
    .option('-z, --time-zone <name>', 'in which buckets begin, such as Asia/Taipei', localZone())
    .addOption(jsonOption())
    .action(async (options: Options) => {
      const { json, user, context, bucket, timeZone } = options;
      const to = options.to ?? new Date().toISOString();
      const from = options.from ?? new Date(Date.now() - DAYS[bucket] * DAY_MS).toISOString();
      const whose = {
        ...(user !== undefined && { userId: user }),
        ...(context !== undefined && { contextId: context }),
      };
      const trends = await withMemory((memory) => memory.getTrends({ ...whose, from, to, bucket, timeZone }));
      if (json) printJson(trends);
      else if (trends.items.length === 0) say('nothing is committed in that time');
      else printChart(trends.items, bucket, timeZone);
    });
}

function printChart(buckets: readonly TrendBucket[], bucket: Options['bucket'], timeZone: string): void {
  const most = Math.max(...buckets.map(({ turns }) => turns), 1);
  const hour = bucket === 'hour' ? ({ hour: '2-digit', minute: '2-digit' } as const) : {};
  const day = { year: 'numeric', month: '2-digit', day: '2-digit' } as const;
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, ...day, ...hour });
  printTable(
    ['from', 'turns', '', 'user tokens', 'assistant tokens', 'reflections'],
    buckets.map(({ from, turns, userTokenCount, assistantTokenCount, reflections }) => [
      format.format(new Date(from)),
      turns,
      colors.cyan('█'.repeat(Math.ceil((turns / most) * BAR_LENGTH))),
      userTokenCount,
      assistantTokenCount,
      reflections,
    ]),
  );
  print(colors.dim(`times are in ${timeZone}`));
}

function localZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}
