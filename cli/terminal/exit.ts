import { CommanderError } from 'commander';
import { type ErrorCode, MnemoqError, messageOf } from '../../shared/errors.ts';
import { say, sayColors } from './output.ts';

/** The exit codes of commands. */
export const EXIT = {
  ok: 0,
  /** The command ran, and its answer is no: a check failed, a line was refused, or nothing was found. */
  failed: 1,
  /** The command, its input or the configuration is wrong. */
  usage: 2,
  /** Redis, Supabase or IPFS is away. The same command may work later. */
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

/** Says what to do about an error, where its message does not say it. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  redis_unavailable: 'mnemoq doctor checks every part and says how to mend it',
  supabase_unavailable: 'mnemoq doctor checks every part and says how to mend it',
  ipfs_unavailable: 'mnemoq doctor checks every part and says how to mend it',
};

/** An error that ends a command with this exit code and one line that says why. */
export class CommandEnd extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Says once what went wrong and gives the exit code. The stack is printed only for an error that was not expected. */
export function report(error: unknown): number {
  // Commander has printed the message already.
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
