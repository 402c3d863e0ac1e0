import type { z } from 'zod';
import { MnemoqError } from '../errors.ts';
import { validate } from '../validate.ts';

/** The names that the original guide has for `contextId`. Saves take them, over every door and in the queues. */
const ALIASES = ['conversationId', 'conversation_id'] as const;
type Alias = (typeof ALIASES)[number];

/** A save as TypeScript may hand it over: with `contextId`, or with one of its other names. */
export type WithConversation<T extends { contextId: string }> =
  T | (Omit<T, 'contextId'> & { [A in Alias]: Record<A, string> & Partial<Pick<T, 'contextId'>> }[Alias]);

/** Whether a field, perhaps one of an element of a list, has another name for `contextId`. */
export function isAlias(field: string): boolean {
  return ALIASES.includes(field.split('.').at(-1) as Alias);
}

/**
 * Checks a save, in which the conversation may have one of its other names. `field` is its name in `schema`. What is wrong is
 * told under the name that the client wrote.
 */
export function validateSave<T>(
  schema: z.ZodType<T>,
  value: unknown,
  what: string,
  field: 'contextId' | 'context_id' = 'contextId',
): T {
  const { renamed, alias } = rename(value, field, what);
  return validate(schema, renamed, what, (name) => (name === field && alias !== null ? alias : name));
}

/** The same for a list. One that is longer than `most` is refused for that, before anybody goes through it. */
export function validateSaves<T>(schema: z.ZodType<T>, values: unknown, what: string, most: number): T {
  if (!isList(values) || values.length > most) return validate(schema, values, what);
  const elements = Array.from({ length: values.length }, (_, i) => rename(elementOf(values, i), 'contextId', what, i));
  const names = new Map(elements.flatMap(({ alias }, i) => (alias ? [[`${i}.contextId`, `${i}.${alias}`]] : [])));
  const list = elements.some(({ alias }) => alias !== null) ? elements.map(({ renamed }) => renamed) : values;
  return validate(schema, list, what, (name) => names.get(name) ?? name);
}

/** Every conversation that the data of a job may name. Any client may have added the job, with several names. */
export function conversationsIn(data: Readonly<Record<string, unknown>>): unknown[] {
  return ['contextId', ...ALIASES].filter((name) => Object.hasOwn(data, name)).map((name) => data[name]);
}

interface Renamed {
  renamed: unknown;
  /** The name that was there instead; null where there was none, or `field` stood beside it. */
  alias: Alias | null;
}

function rename(value: unknown, field: string, what: string, index?: number): Renamed {
  const own = fieldsOf(value);
  const given = own ? ALIASES.filter((name) => own[name] !== undefined) : [];
  const [first] = given;
  if (!own || first === undefined) return { renamed: value, alias: null };
  const conversation = own[field] ?? own[first];
  const other = given.find((name) => own[name] !== conversation);
  if (other !== undefined) throw unequal(index === undefined ? other : `${index}.${other}`, what, field);
  const rest = Object.fromEntries(Object.entries(own).filter(([name]) => !ALIASES.includes(name as Alias)));
  return { renamed: { ...rest, [field]: conversation }, alias: own[field] === undefined ? first : null };
}

function unequal(written: string, what: string, field: string): MnemoqError {
  const problem = { field: written, expected: `the same as ${field}`, received: 'something else' };
  const message = `${what} is not valid: ${written}: expected ${problem.expected}, received ${problem.received}`;
  return new MnemoqError('invalid_input', message, { problems: [problem] });
}

/** Null for what is no object, and for what throws while it is read: `validate` tells of that, in its own words. */
function fieldsOf(value: unknown): Record<string, unknown> | null {
  if (typeof value !== 'object' || value === null || isList(value)) return null;
  try {
    return ALIASES.some((name) => Object.hasOwn(value, name)) ? { ...value } : null;
  } catch {
    return null;
  }
}

function elementOf(values: readonly unknown[], index: number): unknown {
  try {
    return values[index];
  } catch {
    return undefined;
  }
}

/** False as well for a proxy that was revoked: asking it throws. */
function isList(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}
