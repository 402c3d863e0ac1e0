import { z } from 'zod';

/** The option `onProgress` of calls that take long: called with what is done so far, and never waited for. */
export function progressHandler<Progress>() {
  return z.custom<(soFar: Progress) => void>((value) => typeof value === 'function', 'a function');
}
