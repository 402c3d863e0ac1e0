import type { Stack } from '../support/services/stack.ts';
import { isInsert } from './bench.ts';

type Faults = Pick<Stack['proxy'], 'fault' | 'beforeAnswer'>;
type Fault = NonNullable<ReturnType<Faults['fault']>>;

const BEFORE: Record<string, Fault> = {
  'a 503': { status: 503 },
  'a 429': { status: 429, headers: { 'retry-after': '1' } },
  'a wrong key': { status: 401, body: { message: 'Invalid API key' } },
  'a missing table': { status: 404, body: { code: 'PGRST205', message: 'no table' } },
  'a statement timeout': { status: 500, body: { code: '57014', message: 'canceling statement' } },
  'a cut connection': 'reset',
  'a hanging Supabase': 'hang',
};

const AFTER: Record<string, Fault> = {
  'a lost answer': 'reset',
  'a 504 after the commit': { status: 504 },
};

/** The ways in which a write may fail although no row is at fault. */
export const FAULTS = [...Object.keys(BEFORE), ...Object.keys(AFTER)];

/** Tells whether Supabase has the rows of a write that failed in this way. */
export function isDeaf(name: string): boolean {
  return name in AFTER;
}

/** Makes every insert after the first `passed` ones fail. `hits` tells how many have failed. */
export function faultsFor(name: string, passed: number): { faults: Faults; hits: () => number } {
  let inserts = 0;
  let hits = 0;
  const failing = (fault: Fault | undefined): Faults['fault'] => {
    return (request) => {
      if (!fault || !isInsert(request) || ++inserts <= passed) return null;
      hits += 1;
      return fault;
    };
  };
  return { faults: { fault: failing(BEFORE[name]), beforeAnswer: failing(AFTER[name]) }, hits: () => hits };
}
