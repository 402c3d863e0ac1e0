/**
 * **cli/commands/**: the commands, in folders by what their user wants; each says what it takes and calls the code that
 * does it.
 */
import { MemoryCore } from '../../producers/index.ts';
import { readEnvironment } from '../../shared/settings/environment.ts';
import { isError, MnemoqError } from '../../shared/errors.ts';
import { say, sayColors } from '../terminal/output.ts';

/** After this long without a sign of life it is time to say what is being waited for. */
const SILENCE_MS = 5_000;

/** Runs a command's work with a connected MemoryCore and lets go of it whatever happens. */
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
    // What goes wrong the command says itself, once; the log of its connections is for those who ask for it.
    return new MemoryCore({ MEMORY_LOG_LEVEL: 'silent', ...readEnvironment() });
  } catch (error) {
    if (!isError(error, 'invalid_configuration')) throw error;
    const hint = 'set them in the environment or in .env, or run `mnemoq dev` in this folder, which needs no settings';
    throw new MnemoqError(error.code, `${error.message}\n  (${hint})`, { cause: error });
  }
}

/** Says what to look at when nothing moves for a while; `moved` is to be called when something does. */
export function watchForSilence(hint: string): { moved(): void; stop(): void } {
  const timer = setTimeout(() => say(`${sayColors.yellow('…')} ${hint}`), SILENCE_MS);
  return { moved: () => void timer.refresh(), stop: () => clearTimeout(timer) };
}
