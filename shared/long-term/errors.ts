import type { PostgrestError } from '@supabase/supabase-js';
import { MnemoqError } from '../errors.ts';

/** Why Supabase did not do what it was asked. Only `refused` is the fault of the row; the rest is the service's fault. */
export type FailureKind = 'refused' | 'outage' | 'auth' | 'schema';

export interface Failure {
  kind: FailureKind;
  /** SQLSTATE, PostgREST code or HTTP status. */
  code: string;
  message: string;
}

/** What supabase-js answers. It returns errors and does not throw them. */
export interface Answer<T> {
  data: T | null;
  error: PostgrestError | null;
  status: number;
}

/**
 * Says what a failed answer means. This is the most important judgement in the system: a row that is judged `refused` is
 * set aside until a person looks at it, and every other row stays pending and is written again.
 *
 * | kind | HTTP status or code | what a flush does |
 * |---|---|---|
 * | `outage` | no answer, 5xx, 408, 429, whatever the code; and everything that no other line names | keeps everything pending |
 * | `auth` | 401, 403, SQLSTATE 42501 and 22023, PGRST3xx | keeps everything pending |
 * | `refused` | SQLSTATE classes 22 and 23, 54000, HTTP 413 | halves the batch; a row that fails alone goes to quarantine |
 * | `schema` | 404, SQLSTATE class 42, PGRST2xx | keeps everything pending |
 *
 * The lines are tried from top to bottom. An unknown failure is an outage, so that no row is blamed for it.
 * Class 22 is a data exception, class 23 an integrity constraint, and 54000 a value too large for an index row. 22023 is
 * taken out of class 22 because it is what a JWT causes whose role the database does not have; no value in a row causes it.
 *
 * Only the code and the message are kept, because `details` and `hint` may quote the whole failing row.
 */
export function classifyLongTermError(error: PostgrestError | null, status: number): Failure {
  const code = error?.code || (status ? `HTTP ${status}` : 'no answer');
  const message = (error?.message ?? 'an answer without data').slice(0, 300);
  return { kind: kindOf(error?.code ?? '', status), code, message };
}

function kindOf(code: string, status: number): FailureKind {
  if (isOutage(status)) return 'outage';
  if (status === 401 || status === 403 || /^(42501|22023|PGRST3.*)$/.test(code)) return 'auth';
  if (/^(22|23)...$|^54000$/.test(code) || status === 413) return 'refused';
  if (code.startsWith('42') || code.startsWith('PGRST2') || status === 404) return 'schema';
  return 'outage';
}

function isOutage(status: number): boolean {
  return status === 0 || status >= 500 || status === 408 || status === 429;
}

/** The data of an answer. Throws `supabase_unavailable` with what a failed answer means. */
export function unwrap<T>({ data, error, status }: Answer<T>, doing: string): T {
  if (!error && data !== null) return data;
  const { kind, code, message } = classifyLongTermError(error, status);
  throw new MnemoqError('supabase_unavailable', `${doing} failed: ${WORDS[kind]} (${code}: ${message})`);
}

const WORDS: Record<FailureKind, string> = {
  refused: 'Supabase refused the data',
  outage: 'Supabase does not answer as it should',
  auth: 'Supabase refused the key: check SUPABASE_SERVICE_ROLE_KEY',
  schema: 'a table or column is missing: apply supabase/migrations (mnemoq doctor tells more)',
};

/** PostgREST does not know the function (PGRST202), or the function is gone since PostgREST read the schema (42883). */
export function isMissingFunction(error: PostgrestError | null): boolean {
  return error?.code === 'PGRST202' || error?.code === '42883';
}
