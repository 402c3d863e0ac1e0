/**
 * **cli/commands/**: the commands, in folders by what their user wants. A command declares its arguments and options and calls
 * the code that does the work.
 */
import { MemoryCore } from '../../producers/index.ts';
import { readEnvironment } from '../../shared/settings/environment.ts';
import { isError, MnemoqError } from '../../shared/errors.ts';
import { say, sayColors } from '../terminal/output.ts';

/** After this time in which nothing has moved, the command says what it waits for. */
const SILENCE_MS = 5_000;

/** Runs the work of a command with a connected MemoryCore, which is closed at the end, whatever happens. */
export async function withMemory<T>(work: (memory: MemoryCore) => Promise<T>): Promise<T> {
  const memory = connect();
  try {
    return await work(memory);
  } finally {
    await memory.close();
  }
}

function connect(): MemoryCore {
  try {
    // The command itself says once what goes wrong. The log of its connections is only for those who switch it on.
    return new MemoryCore({ MEMORY_LOG_LEVEL: 'silent', ...readEnvironment() });
  } catch (error) {
    if (!isError(error, 'invalid_configuration')) throw error;
    const hint = 'set them in the environment or in .env, or run `mnemoq dev` in this folder, which needs no settings';
    throw new MnemoqError(error.code, `${error.message}\n  (${hint})`, { cause: error });
  }
}

/** Says what to look at when nothing has moved for a while. The caller calls `moved` whenever something has. */
export function watchForSilence(hint: string): { moved(): void; stop(): void } {
  const timer = setTimeout(() => say(`${sayColors.yellow('…')} ${hint}`), SILENCE_MS);
  return { moved: () => void timer.refresh(), stop: () => clearTimeout(timer) };
}
