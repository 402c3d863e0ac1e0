import { z } from 'zod';
import { type FieldProblem, MnemoqError } from './errors.ts';

/** How many wrong fields are told one by one. A caller's list, or a job from elsewhere, may have a million of them. */
const TOLD = 20;

/**
 * Checks `value` against `schema` at a door of the system and returns it parsed.
 * Throws `invalid_input` that names the wrong fields (the first 20), what was expected and what came. `what` names the value
 * in the message and, where the value as a whole is wrong, stands in place of a field. `nameOf` gives the name under which the client knows a field.
 */
export function validate<T>(
  schema: z.ZodType<T>,
  value: unknown,
  what: string,
  nameOf: (field: string) => string = (field) => field,
): T {
  const examined = examine(schema, value, what);
  if ('data' in examined) return examined.data;
  const problems = examined.problems.slice(0, TOLD).map((problem) => ({ ...problem, field: nameOf(problem.field) }));
  const text = problems.map(
    (p) => `${p.field === what ? '' : `${p.field}: `}expected ${p.expected}, received ${p.received}`,
  );
  const untold = examined.problems.length - problems.length;
  if (untold > 0) text.push(`and ${untold} more`);
  const are = what.endsWith('s') ? 'are' : 'is';
  throw new MnemoqError('invalid_input', `${what} ${are} not valid: ${text.join('; ')}`, { problems });
}

/**
 * An array of at most `most` elements. Its length is looked at first, because going through a sparse array of four billion
 * elements would keep the process busy for minutes.
 */
export function listOf<T extends z.ZodType>(element: T, most: number) {
  return z
    .custom<readonly z.input<T>[]>((value) => !Array.isArray(value) || value.length <= most, `at most ${most}`)
    .pipe(z.array(element) as z.ZodType<z.output<T>[], readonly z.input<T>[]>);
}

type Examined<T> = { data: T } | { problems: FieldProblem[] };

/** A getter or a proxy of the caller may throw while it is read or described. What it throws may be a text, so it is not passed on. */
function examine<T>(schema: z.ZodType<T>, value: unknown, what: string): Examined<T> {
  try {
    const result = schema.safeParse(value, { reportInput: true });
    if (result.success) return { data: result.data };
    const problems = result.error.issues.flatMap((issue) => problemsOf(issue, what));
    // One problem for each field is enough: a function has a length as a text has, and would be told to be too short as well.
    return {
      problems: [...new Map(problems.toReversed().map((problem) => [problem.field, problem])).values()].toReversed(),
    };
  } catch {
    return {
      problems: [{ field: what, expected: 'a value that can be read', received: 'one that throws when it is' }],
    };
  }
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
  return issue.message; // custom checks and unions have their expectation as message
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

/** The name of a field may itself be a text that somebody pasted. Names that look like names are kept, others are counted. */
function describeKey(key: string): string {
  return /^[\w.-]{1,64}$/.test(key) ? key : `(a name of ${characters(key.length)})`;
}

/** A short number or what looks like a date, and so neither a telephone number nor a card number. */
const QUOTABLE = /^([+-]?\d{1,7}(\.\d{1,3})?|[+-]?\d{4,6}-[01]\d(-[0-3]\d([T ][\d:.]{0,18}(Z|[+-][\d:]{0,6})?)?)?)$/;

/** What a value is, without what it says, because these words reach logs. Dates and short numbers are quoted. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (typeof value === 'number' || typeof value === 'boolean') return `${typeof value} ${value}`;
  if (typeof value === 'string') {
    if (value === '') return 'an empty string';
    if (QUOTABLE.test(value)) return `"${value}"`;
    return `a string of ${characters(value.length)}`;
  }
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return article(typeof value);
}
