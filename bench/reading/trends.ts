import { progressBar } from '../../cli/terminal/output.ts';
import type { TrendsOptions } from '../../producers/index.ts';
import type { ResultTable } from '../report.ts';
import type { Stage } from '../stage.ts';
import { median, quantile, rounded, timed } from '../statistics.ts';

const SAMPLES = 20;
const WARM_UP = 2;
/** The number of rows that one statement inserts. */
const BATCH = 50_000;
/** All records of the first half belong to one user and one conversation. The other half is spread over many. */
const WHOSE = { userId: 'bench-user', contextId: 'bench-conversation' };
const YEAR = { from: '2025-01-01T00:00:00.000Z', to: '2026-01-01T00:00:00.000Z' };

interface TrendRates {
  question: string;
  records: number;
  medianMs: number;
  p99Ms: number;
}

export interface TrendsResult {
  samples: number;
  records: number;
  rates: TrendRates[];
}

/**
 * Measures the trends of a year on PostgreSQL. The year has twice `records` records, and half of them belong to one user in one
 * conversation.
 */
export async function measureTrends(stage: Stage, records: number): Promise<TrendsResult> {
  const place = stage.places.find(({ sql }) => sql !== null);
  if (!place?.sql) throw new Error('trends are measured on PostgreSQL, which could not be started');
  await fill(place.sql, 2 * records);
  const memory = stage.memory(stage.newEnvironment(place));
  const questions: Record<string, TrendsOptions> = {
    'a user by day': { ...YEAR, bucket: 'day', userId: WHOSE.userId },
    'a conversation by day': { ...YEAR, bucket: 'day', contextId: WHOSE.contextId },
    'a conversation by week': { ...YEAR, bucket: 'week', contextId: WHOSE.contextId },
    'everybody by day': { ...YEAR, bucket: 'day' },
  };
  const measured = Object.entries(questions).map(([question, options]) => ({ question, options, ms: [] as number[] }));
  const bar = progressBar('trends', SAMPLES);
  let counted: number[] = [];
  for (let sample = -WARM_UP; sample < SAMPLES; sample++) {
    counted = [];
    for (const { options, ms } of measured) {
      const tookMs = await timed(async () => {
        const { items: buckets } = await memory.getTrends(options);
        counted.push(buckets.reduce((sum, { turns, reflections }) => sum + turns + reflections, 0));
      });
      if (sample >= 0) ms.push(tookMs);
    }
    bar.update(Math.max(0, sample + 1));
  }
  bar.stop();
  const rates = measured.map(({ question, ms }, i) => ({
    question,
    records: counted[i] ?? 0,
    medianMs: rounded(median(ms)),
    p99Ms: rounded(quantile(ms, 0.99)),
  }));
  return { samples: SAMPLES, records, rates };
}

/** Inserts the records with SQL. This benchmark measures reading; another one measures how Mnemoq writes so many. */
async function fill(sql: NonNullable<Stage['places'][number]['sql']>, rows: number): Promise<void> {
  const bar = progressBar('rows', rows);
  for (let done = 0; done < rows; done += BATCH) {
    await sql(
      `insert into public.memories (id, user_id, context_id, tokens, module, created_at)
       select gen_random_uuid(),
              case when n % 2 = 0 then '${WHOSE.userId}' else 'user-' || n % 1000 end,
              case when n % 2 = 0 then '${WHOSE.contextId}' else 'context-' || n % 10000 end,
              case when n % 20 = 0 then jsonb_build_object('encoding', 'cl100k_base', 'text', ids)
                   else jsonb_build_object('encoding', 'cl100k_base', 'user', ids, 'assistant', ids) end,
              case when n % 20 = 0 then 'reflection' else 'chat' end,
              timestamptz '2025-01-01' + n * interval '1 year' / ($1 + 1)
         from generate_series($2::integer, $3::integer) n,
              lateral (select jsonb_agg((i * 7919 + n) % 100000) as ids from generate_series(1, 5 + n % 50) i) tokens`,
      [rows, done, Math.min(done + BATCH, rows) - 1],
    );
    bar.update(Math.min(done + BATCH, rows));
  }
  bar.stop();
  // Autovacuum would do this by itself a minute later.
  await sql('vacuum analyze public.memories');
}

/** Writes the result for people. */
export function trendsTable({ samples, rates }: TrendsResult): ResultTable {
  return {
    title: 'Trends of a year',
    head: ['question', 'records', 'median / p99 ms'],
    rows: rates.map(({ question, records, medianMs, p99Ms }) => [question, records, `${medianMs} / ${p99Ms}`]),
    note: `${samples} of each, in turn, one request each.`,
  };
}
