import { MnemoqError, messageOf } from '../errors.ts';

/** Runs a command for a caller who must not wait for ever, and says what a refusal of Redis means. */
export async function withinTime<T>(work: Promise<T>, timeoutMs: number, doing: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([work, deadline]);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error; // a mistake of ours, not of Redis
    throw classifyRedisError(error, doing);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined); // after a timeout nobody else listens to it
  }
}

/** `OOM` is Redis at maxmemory; anything else means that Redis did not take the command. */
function classifyRedisError(error: unknown, doing: string): MnemoqError {
  if (error instanceof MnemoqError) return error;
  const reason = messageOf(error);
  return /\bOOM\b/.test(reason)
    ? new MnemoqError('redis_full', `${doing}: Redis is at its memory limit; nothing was stored`, { cause: error })
    : new MnemoqError('redis_unavailable', `${doing}: Redis did not accept it (${reason})`, { cause: error });
}
