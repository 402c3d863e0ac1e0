import { describe, expect, test } from '@jest/globals';
import type { PostgrestError } from '@supabase/supabase-js';
import { classifyLongTermError, type FailureKind } from '../../shared/long-term/errors.ts';

/** What `details` and `hint` may carry: the whole row. It must reach no message and no log. */
const ROW = 'Failing row contains (0199…, user-1, a very private sentence).';

type Sample = [name: string, status: number, code: string | null, message: string | null, kind: FailureKind];

/** As PostgREST 12 answers, observed or from its table of errors (docs.postgrest.org, references/errors), unless said otherwise. */
const SAMPLES: Sample[] = [
  // The row's own fault.
  ['a NUL in jsonb', 400, '22P05', 'unsupported Unicode escape sequence', 'refused'],
  ['a bad uuid', 400, '22P02', 'invalid input syntax for type uuid: "x"', 'refused'],
  ['a time out of range', 400, '22008', 'date/time field value out of range: "2025-13-01"', 'refused'],
  ['a value too long', 400, '22001', 'value too long for type character varying(10)', 'refused'],
  ['a check constraint', 400, '23514', 'new row for relation "memories" violates check constraint "m"', 'refused'],
  ['not null', 400, '23502', 'null value in column "context_id" of relation "memories" violates …', 'refused'],
  ['a duplicate', 409, '23505', 'duplicate key value violates unique constraint "memories_pkey"', 'refused'],
  ['a foreign key', 409, '23503', 'insert or update on table "m" violates foreign key constraint "f"', 'refused'],
  ['a value too large for the index', 413, '54000', 'index row size 2800 exceeds btree version 4 maximum', 'refused'],
  ['a body too large for the gateway', 413, null, null, 'refused'],
  ['a NUL in text, @supabase/lite', 400, '22021', 'invalid byte sequence for encoding "UTF8": 0x00', 'refused'],
  // The key's.
  ['a bad JWT', 401, 'PGRST301', 'JWSError JWSInvalidSignature', 'auth'],
  ['an expired JWT', 401, 'PGRST301', 'JWT expired', 'auth'],
  ['an expired JWT, PostgREST 13', 401, 'PGRST303', 'JWT expired', 'auth'],
  ['anonymous access that is switched off', 401, 'PGRST302', 'Anonymous access is disabled', 'auth'],
  ['an unknown role in the JWT', 400, '22023', 'role "nobody" does not exist', 'auth'],
  ['no permission, signed in', 403, '42501', 'permission denied for table memories', 'auth'],
  ['no permission, anonymous', 401, '42501', 'permission denied for table memories', 'auth'],
  ['row level security', 403, '42501', 'new row violates row-level security policy for table "m"', 'auth'],
  ['a bad key at the gateway', 401, null, 'Invalid API key', 'auth'],
  ['a bad key, @supabase/lite', 401, null, 'Unauthorized', 'auth'],
  // The schema's.
  ['a missing table, reading', 404, '42P01', 'relation "public.memories" does not exist', 'schema'],
  ['a missing table, writing', 404, null, null, 'schema'],
  [
    'a missing table, PostgREST 13',
    404,
    'PGRST205',
    "Could not find the table 'public.m' in the schema cache",
    'schema',
  ],
  ['an unknown column, writing', 400, 'PGRST204', "Could not find the 'cid' column of 'memories'", 'schema'],
  ['an unknown column, reading', 400, '42703', 'column memories.cid does not exist', 'schema'],
  ['a missing function', 404, 'PGRST202', 'Could not find the function public.mnemoq_schema_version', 'schema'],
  // Nobody's here: it is tried again.
  ['terminated sessions', 503, 'PGRST002', 'Could not query the database for the schema cache. Retrying.', 'outage'],
  ['no connection to the database', 503, 'PGRST001', 'Database client error. Retrying the connection.', 'outage'],
  ['a full connection pool', 504, 'PGRST003', 'Timed out acquiring connection from connection pool.', 'outage'],
  ['a gateway that is down', 502, null, 'PostgREST did not answer', 'outage'],
  ['a gateway that times out', 504, null, null, 'outage'],
  ['a gateway of Cloudflare', 522, null, '<!DOCTYPE html>', 'outage'],
  ['a network error', 0, '', 'TypeError: fetch failed', 'outage'],
  ['a cancelled request', 0, '20', 'AbortError: This operation was aborted', 'outage'],
  ['a request timeout', 408, null, null, 'outage'],
  ['a rate limit', 429, null, 'Too Many Requests', 'outage'],
  ['a statement timeout', 500, '57014', 'canceling statement due to statement timeout', 'outage'],
  ['a full disk', 503, '53100', 'could not extend file: No space left on device', 'outage'],
  ['a read-only database', 405, '25006', 'cannot execute INSERT in a read-only transaction', 'outage'],
  ['a shutdown', 503, '57P01', 'terminating connection due to administrator command', 'outage'],
  ['a serialization failure', 500, '40001', 'could not serialize access due to concurrent update', 'outage'],
  ['a data error behind a broken server', 500, '22P02', 'invalid input syntax', 'outage'],
  ['something unheard of', 418, 'XX000', 'internal error', 'outage'],
  ['an answer that is no data and no error', 200, null, null, 'outage'],
];

/** The error as supabase-js hands it over: the body of the answer, whatever it lacks. */
function errorOf(code: string | null, message: string | null): PostgrestError {
  return {
    ...(code !== null && { code }),
    ...(message !== null && { message }),
    details: ROW,
    hint: ROW,
  } as unknown as PostgrestError;
}

describe('an answer of Supabase', () => {
  test.each(SAMPLES)('%s (%d %s) has its kind', (_, status, code, message, kind) => {
    const failure = classifyLongTermError(errorOf(code, message), status);
    expect(failure.kind).toBe(kind);
    expect(failure.message).toBe(message ?? 'an answer without data');
    expect(failure.code).toBe(code || (status === 0 ? 'no answer' : `HTTP ${status}`));
    expect(JSON.stringify(failure)).not.toContain('private');
  });

  test.each([
    [404, 'schema'],
    [401, 'auth'],
    [413, 'refused'],
    [502, 'outage'],
    [0, 'outage'],
  ] as const)('without a body (%d) is judged by its status', (status, kind) => {
    const code = status === 0 ? 'no answer' : `HTTP ${status}`;
    expect(classifyLongTermError(null, status)).toEqual({ kind, code, message: 'an answer without data' });
    expect(classifyLongTermError({} as PostgrestError, status)).toEqual({
      kind,
      code,
      message: 'an answer without data',
    });
  });

  test('with a long message is cut, for it may quote what was sent', () => {
    const page = `<html>${'x'.repeat(100_000)}`;
    expect(classifyLongTermError(errorOf(null, page), 502).message).toBe(page.slice(0, 300));
  });
});
