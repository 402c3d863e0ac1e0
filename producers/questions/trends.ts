import { toMoment } from '../../shared/moments.ts';
import { z } from 'zod';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import type { TrendRow } from '../../shared/long-term/questions.ts';
import { identifier } from '../../shared/identifiers.ts';
import { moment, toSortable } from '../../shared/moments.ts';
import { timeZone } from '../../shared/settings/time-zone.ts';
import { validate } from '../../shared/validate.ts';
import type { Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { inReadTime } from '../reading/reading.ts';

const HOUR_MS = 3_600_000;
const BUCKET_MS = { hour: HOUR_MS, day: 24 * HOUR_MS, week: 168 * HOUR_MS } as const;

export const trendsOptions = z
  .strictObject({
    userId: identifier.optional(),
    contextId: identifier.optional(),
    from: moment,
    to: moment,
    bucket: z.enum(['hour', 'day', 'week']),
    timeZone: timeZone.optional(),
  })
  .superRefine(({ from, to, bucket }, context) => {
    const expected =
      toSortable(from) >= toSortable(to)
        ? 'a moment after from'
        : Date.parse(to) - Date.parse(from) > (MAX_ROWS - 1) * BUCKET_MS[bucket]
          ? `at most ${MAX_ROWS - 1} buckets after from`
          : null;
    if (expected !== null) context.addIssue({ code: 'custom', path: ['to'], message: expected, input: to });
  });
export type TrendsOptions = z.input<typeof trendsOptions>;

export interface TrendBucket {
  /** Beginning of the hour, day or week (Monday) in the time zone; ISO 8601 UTC. */
  from: string;
  turns: number;
  userTokenCount: number;
  assistantTokenCount: number;
  /** Mean number of tokens of a user's message; null without turns. `meanAssistantTokens` is that of a reply. */
  meanUserTokenCount: number | null;
  meanAssistantTokenCount: number | null;
  reflections: number;
  reflectionTokenCount: number;
  /** Mean seconds between turns that follow each other; null with fewer than two turns. */
  meanGapSeconds: number | null;
}

/** The buckets, oldest first. Those without any record are left out. */
export interface Trends extends Page<TrendBucket> {
  from: string;
  to: string;
  bucket: keyof typeof BUCKET_MS;
  timeZone: string;
  nextCursor: null;
}

/** Counts committed records in the database, in one round trip. */
export async function readTrends(options: TrendsOptions, parts: CallParts): Promise<Trends> {
  const { timeZone: zone = 'UTC', ...question } = validate(trendsOptions, options, 'the options');
  const { from, to, bucket } = question;
  const rows = await inReadTime(parts.longTerm.questions.trends({ ...question, timeZone: zone }), parts);
  return { from, to, bucket, timeZone: zone, items: rows.map(toFigures), nextCursor: null, complete: true };
}

function toFigures(row: TrendRow): TrendBucket {
  const { turns, user_tokens: userTokenCount, assistant_tokens: assistantTokenCount } = row;
  const mean = (sum: number) => (turns === 0 ? null : sum / turns);
  return {
    from: toMoment(row.start),
    turns,
    userTokenCount,
    assistantTokenCount,
    meanUserTokenCount: mean(userTokenCount),
    meanAssistantTokenCount: mean(assistantTokenCount),
    reflections: row.reflections,
    reflectionTokenCount: row.reflection_tokens,
    meanGapSeconds: row.mean_gap_seconds,
  };
}
