import { DOORS } from './list/doors.ts';
import { EVENTS } from './list/events.ts';
import { KEEPING } from './list/keeping.ts';
import { LONG_TERM } from './list/long-term.ts';
import type { Mutant } from './list/mutant.ts';
import { REFLECTOR } from './list/reflector.ts';
import { SAVING } from './list/saving.ts';
import { SEARCH } from './list/search.ts';
import { SHORT_TERM } from './list/short-term.ts';

/**
 * All known mistakes. `npm run test:mutants` shows that a test sees each of them. `test/house/mutants.test.ts`, which `npm test`
 * runs, checks that their texts still stand in the code.
 */
export const MUTANTS: readonly Mutant[] = [
  ...SHORT_TERM,
  ...LONG_TERM,
  ...SAVING,
  ...SEARCH,
  ...REFLECTOR,
  ...EVENTS,
  ...KEEPING,
  ...DOORS,
];
