import { z } from 'zod';

/**
 * The longest contextId, userId and idempotency key, in UTF-16 units. It fits into an index row of PostgreSQL, whatever script it
 * is written in.
 */
const ID_LENGTH = 512;

/**
 * Any text without NUL, which PostgreSQL cannot store, and without lone surrogates, which UTF-8 cannot carry. The length is
 * checked by hand because zod's own `max` counts code points.
 */
export function identifierUpTo(length: number) {
  return z
    .string()
    .min(1)
    .refine((value) => value.length <= length, `at most ${length} characters`)
    .refine(
      (value) => value.isWellFormed() && !value.includes('\0'),
      'text without NUL characters and lone surrogates',
    );
}

/** The id of a conversation or a user, or an idempotency key. */
export const identifier = identifierUpTo(ID_LENGTH);

export const recordId = z.uuid().toLowerCase();
