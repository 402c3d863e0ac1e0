import { MnemoqError } from '../../shared/errors.ts';
import { describe } from '../../shared/validate.ts';

/**
 * What every list answers with, over every door. A list that never needs a second page has the same form, so that
 * nobody has to remember which lists have pages.
 */
export interface Page<T> {
  items: T[];
  /** The `cursor` of the next page; null after the last one. Only this field says whether more follows. */
  nextCursor: string | null;
  /**
   * False when something that belongs between the first and the last item of this page may be missing. Whether more
   * pages follow, `nextCursor` says.
   */
  complete: boolean;
}

/** The error of a list that is asked for a cursor that it has not given. */
export function notACursor(cursor: string): MnemoqError {
  const problem = { field: 'cursor', expected: 'a nextCursor of an earlier page', received: describe(cursor) };
  const message = `cursor: expected ${problem.expected}, received ${problem.received}`;
  return new MnemoqError('invalid_input', message, { problems: [problem] });
}
