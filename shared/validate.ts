import type { z } from 'zod';
import { type FieldProblem, MnemoqError } from './errors.ts';

/**
 * Checks `value` against `schema` at a door of the system and returns it parsed.
 * Throws `invalid_input` naming every wrong field, what was expected and what came. `what` names the value in the message
 * and, where the value as a whole is wrong, stands in for the field.
 */
export function validate<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const problems = result.error.issues.flatMap((issue) => problemsOf(issue, what));
  const text = problems
    .map((p) => `${p.field === what ? '' : `${p.field}: `}expected ${p.expected}, received ${p.received}`)
    .join('; ');
  throw new MnemoqError('invalid_input', `${what} is not valid: ${text}`, { problems });
}

function problemsOf(issue: z.core.$ZodIssue, what: string): FieldProblem[] {
  const field = issue.path.join('.') || what;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      field: [...issue.path, describeKey(key)].join('.'),
      expected: 'no such field',
      received: 'an unknown field',
    }));
  }
  return [{ field, expected: expectation(issue), received: describe(issue.input) }];
}

function expectation(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return issue.expected === 'int' ? 'a whole number' : article(issue.expected);
  if (issue.code === 'too_small') return `at least ${limit(issue.minimum, issue.origin)}`;
  if (issue.code === 'too_big') return `at most ${limit(issue.maximum, issue.origin)}`;
  if (issue.code === 'invalid_format') return FORMATS[issue.format] ?? issue.message;
  if (issue.code === 'invalid_value') return `one of ${issue.values.map(String).join(', ')}`;
  return issue.message; // custom checks and unions carry their expectation as message
}

const FORMATS: Record<string, string> = {
  uuid: 'a UUID',
  datetime: 'an existing ISO 8601 date and time with zone, like 2025-10-19T15:42:10.000Z',
};

function limit(size: number | bigint, origin: string): string {
  return origin === 'string' ? characters(size) : String(size);
}

function characters(count: number | bigint): string {
  return `${count} ${Number(count) === 1 ? 'character' : 'characters'}`;
}

function article(type: string): string {
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

/** A field name may itself be text somebody pasted: keep names that look like names, count the others. */
function describeKey(key: string): string {
  return /^[\w.-]{1,64}$/.test(key) ? key : `(a name of ${characters(key.length)})`;
}

/** What a value is, without giving away what it says: these words reach logs. Dates and numbers are quoted. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (typeof value === 'number' || typeof value === 'boolean') return `${typeof value} ${value}`;
  if (typeof value === 'string') {
    if (value === '') return 'an empty string';
    if (/^[\d\s:TZ.+/-]{1,40}$/.test(value)) return `"${value}"`;
    return `a string of ${characters(value.length)}`;
  }
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return article(typeof value);
}
