import { CommanderError } from 'commander';
import { type ErrorCode, MnemoqError, messageOf } from '../../shared/errors.ts';
import { say, sayColors } from './output.ts';

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
  forbidden: EXIT.failed,
  not_found: EXIT.failed,
  erased: EXIT.failed,
  timeout: EXIT.unavailable,
  redis_unavailable: EXIT.unavailable,
  redis_full: EXIT.unavailable,
  supabase_unavailable: EXIT.unavailable,
  ipfs_unavailable: EXIT.unavailable,
  cid_mismatch: EXIT.failed,
  unverified: EXIT.failed,
  key_missing: EXIT.usage,
  plain_data_refused: EXIT.failed,
  sealed_data_damaged: EXIT.failed,
};

/** What to do about it, where the message does not say. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  redis_unavailable: 'mnemoq doctor checks every part and says how to mend it',
  supabase_unavailable: 'mnemoq doctor checks every part and says how to mend it',
  ipfs_unavailable: 'mnemoq doctor checks every part and says how to mend it',
};

/** Ends a command with this exit code and one line about it. */
export class CommandEnd extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Says what went wrong, once, and gives the exit code for it. Only an error that nobody foresaw comes with its stack. */
export function report(error: unknown): number {
  // Commander has said it.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  say(`${sayColors.red('error:')} ${messageOf(error)}`);
  if (error instanceof CommandEnd) return error.exitCode;
  if (error instanceof MnemoqError) {
    const hint = HINTS[error.code];
    if (hint) say(`${sayColors.yellow('→')} ${hint}`);
    return CODES[error.code];
  }
  if (error instanceof Error && !('code' in error)) say(sayColors.dim(error.stack?.replace(/^.*\n/, '') ?? ''));
  return EXIT.failed;
}
