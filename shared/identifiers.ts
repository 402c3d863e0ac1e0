import { z } from 'zod';

/** Longest contextId, userId and idempotency key, in UTF-16 units: fits a PostgreSQL index row whatever the script. */
const ID_LENGTH = 512;
/** Any text but NUL (PostgreSQL cannot store it) and lone surrogates (UTF-8 cannot). zod's own `max` counts code points. */
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

/** Conversation and user ids, idempotency keys. */
export const identifier = identifierUpTo(ID_LENGTH);

/** An existing moment, normalised to UTC and milliseconds. The year range keeps the text sortable. */
export const moment = z.iso
  .datetime({ offset: true })
  .transform((value) => new Date(value).toISOString())
  .refine((value) => value >= '1970' && value < '9999', 'a date from 1970 to 9998');

export const recordId = z.uuid().toLowerCase();
