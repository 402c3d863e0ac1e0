import { z } from 'zod';

/** The option `onProgress` of calls that take long. It is called with what is done so far, and nothing waits for it. */
export function progressHandler<Progress>() {
  return z.custom<(soFar: Progress) => void>((value) => typeof value === 'function', 'a function');
}
