/**
 * **shared/**: what producers and workers both need, in floors: a folder imports only floors below it. The files here are
 * the lowest floor, which every room uses. What a caller may wish and the steps of a job do not belong here.
 */

/** Everything that can go wrong, as a closed set. A program branches on `code`, a person reads `message`. */
export type ErrorCode =
  | 'invalid_input' // the value of the caller is wrong; the same value will be refused again
  | 'invalid_configuration' // an environment variable is missing or wrong, or what was asked for is not installed
  | 'forbidden' // the caller is known and may not do this
  | 'not_found' // no tier knows the record
  | 'erased' // the user or conversation was erased, and nothing of it is taken until that is lifted
  | 'timeout' // the work was not finished while the caller waited; it goes on by itself
  | 'redis_unavailable' // Redis did not accept or answer in time
  | 'redis_full' // Redis is at its memory limit: saves are refused, flush goes on
  | 'supabase_unavailable' // Supabase is away, refuses the key or lacks the tables; pending records are kept
  | 'ipfs_unavailable' // the IPFS node did not answer or answered wrongly; the pin is tried again
  | 'cid_mismatch' // the IPFS node's CID is not the one computed before the upload
  | 'unverified' // a document from elsewhere is not what it claims to be; nothing of it was stored
  | 'key_missing' // something is sealed with a key that MEMORY_ENCRYPTION_KEYS does not hold
  | 'plain_data_refused' // a record is not encrypted although MEMORY_ENCRYPT_TOKENS is true: it was planted, or is older than that setting
  | 'sealed_data_damaged'; // the authentication of sealed data failed: the key is wrong or bytes were altered

/** One thing that is wrong with one field. `received` describes the value (type and size) and never quotes a text. */
export interface FieldProblem {
  field: string;
  expected: string;
  received: string;
}

export class MnemoqError extends Error {
  override readonly name = 'MnemoqError';
  readonly code: ErrorCode;
  readonly problems: readonly FieldProblem[];

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; problems?: readonly FieldProblem[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.problems = options.problems ?? [];
  }
}

/** Whether `error` is a MnemoqError with this code. */
export function isError(error: unknown, code: ErrorCode): error is MnemoqError {
  return error instanceof MnemoqError && error.code === code;
}

/** What a thrown value says, as one line without the stack. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message || error.name : String(error);
}
