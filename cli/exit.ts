import { CommanderError } from 'commander';
import { type ErrorCode, MnemoqError, messageOf } from '../shared/errors.ts';
import { colors, say } from './output.ts';

/** What the exit code of a command means. */
export const EXIT = {
  ok: 0,
  /** It ran, and the answer is no: a check failed, a line was refused, nothing was found. */
  failed: 1,
  /** The command, its input or the configuration is wrong. */
  usage: 2,
  /** Redis, Supabase or IPFS is not there: try again later. */
  unavailable: 3,
} as const;

const CODES: Record<ErrorCode, number> = {
  invalid_input: EXIT.usage,
  invalid_configuration: EXIT.usage,
  not_found: EXIT.failed,
  timeout: EXIT.unavailable,
  redis_unavailable: EXIT.unavailable,
  redis_full: EXIT.unavailable,
  long_term_unavailable: EXIT.unavailable,
  ipfs_unavailable: EXIT.unavailable,
  cid_mismatch: EXIT.failed,
  key_missing: EXIT.usage,
  sealed_data_damaged: EXIT.failed,
};

/** Says what went wrong, once, without a stack, and gives the exit code for it. */
export function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  say(`${colors.red('error')} ${messageOf(error)}`);
  return error instanceof MnemoqError ? CODES[error.code] : EXIT.failed;
}
