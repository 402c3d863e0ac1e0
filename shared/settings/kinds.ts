import { isIP } from 'node:net';
import { CronExpressionParser } from 'cron-parser';
import { z } from 'zod';
import { isTimeZone } from './time-zone.ts';

/** What the value of a variable may be. */
export interface Kind<T> {
  schema: z.ZodType<T, string | undefined>;
  /** The same in words, for the error message. */
  expected: string;
}

const text = z.string();

/** A text that a check takes; undefined where the variable is not set. */
export function checked(check: (value: string) => boolean, expected: string): Kind<string | undefined> {
  return { schema: text.refine(check).optional(), expected };
}

/** A text that a parser takes apart, which answers null to a wrong one; undefined where the variable is not set. */
export function parsed<T>(parse: (value: string) => T | null, expected: string): Kind<T | undefined> {
  const read = (value: string, context: z.RefinementCtx): T => parse(value) ?? refuse(context);
  return { schema: text.transform(read).optional(), expected };
}

/** Any text. */
export function anyText(fallback: string, expected: string): Kind<string> {
  return { schema: text.default(fallback), expected };
}

/** A whole number of something; `zero` says what 0 means where that is not a number like any other. */
export function wholeNumber(
  { from, to, unit, zero }: { from: number; to: number; unit?: string; zero?: string },
  fallback: number,
): Kind<number> {
  const schema = text
    .regex(/^\d+$/)
    .transform(Number)
    .refine((n) => n >= from && n <= to);
  const expected = `a whole number${unit ? ` of ${unit}` : ''} from ${from} to ${to}${zero ? `; 0 ${zero}` : ''}`;
  return { schema: schema.default(fallback), expected };
}

/** The time something may take: from a tenth of a second to ten minutes. */
export function timeLimit(fallback: number): Kind<number> {
  return wholeNumber({ from: 100, to: 600_000, unit: 'ms' }, fallback);
}

/** A port to listen on; `zero` says what 0 means. */
export function port(zero: string, fallback: number): Kind<number> {
  const { schema } = wholeNumber({ from: 0, to: 65_535 }, fallback);
  return { schema, expected: `a port from 0 to 65535; 0 ${zero}` };
}

/** An address or a host name to listen on. */
export function host(fallback: string): Kind<string> {
  const isHost = (value: string) => isIP(value) !== 0 || /^[a-z\d]([a-z\d.-]*[a-z\d])?$/i.test(value);
  return { schema: text.refine(isHost).default(fallback), expected: 'an address or a host name to listen on' };
}

/** One of some words. */
export function oneOf<const T extends readonly [string, ...string[]]>(values: T, fallback: T[number]): Kind<T[number]> {
  const expected = `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`;
  return { schema: z.enum(values).default(fallback as never), expected };
}

/** True or false, false where the variable is not set. */
export function flag(): Kind<boolean> {
  const { schema, expected } = oneOf(['true', 'false'], 'false');
  return { schema: schema.transform((value) => value === 'true'), expected };
}

/** The name of a table, which needs no quotes in SQL. */
export function tableName(fallback: string): Kind<string> {
  const schema = text.regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/).default(fallback);
  return { schema, expected: 'a table name of letters, digits and underscores' };
}

export function timeZoneName(fallback: string): Kind<string> {
  return { schema: text.refine(isTimeZone).default(fallback), expected: 'an IANA time zone such as Asia/Taipei' };
}

/**
 * A cron expression with five or six fields, or `@daily` and the like. The parser would fill up fewer fields, so that "3"
 * ran every minute.
 */
export function cron(fallback: string): Kind<string> {
  const isCron = (value: string) => {
    if (!/^(@\w+|\S+(\s+\S+){4,5})$/.test(value)) return false;
    try {
      CronExpressionParser.parse(value);
      return true;
    } catch {
      return false;
    }
  };
  return { schema: text.refine(isCron).default(fallback), expected: 'a cron expression such as "0 3 * * *"' };
}

/** A zod transform reports a wrong value by adding an issue and returning NEVER. */
function refuse(context: z.RefinementCtx): never {
  context.addIssue({ code: 'custom' });
  return z.NEVER;
}
