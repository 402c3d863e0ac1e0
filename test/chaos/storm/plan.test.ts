import { describe, expect, test } from '@jest/globals';
import { FAULT_KINDS } from './faults.ts';
import { planFaults } from './plan.ts';

/** The run itself takes minutes and is the form `chaos` of `npm run test:deep`. */
describe('the plan of a chaos run', () => {
  test('can be had again: the same seed is the same plan, another one is another', () => {
    const planned = (seed: string) => planFaults({ seed, lastMs: 480_000, kinds: FAULT_KINDS });
    expect(planned('a')).toEqual(planned('a'));
    expect(planned('b')).not.toEqual(planned('a'));
  });

  test('has every fault before it has one twice, and at most two at once', () => {
    const plan = planFaults({ seed: 'a', lastMs: 480_000, kinds: FAULT_KINDS });
    expect(new Set(plan.slice(0, FAULT_KINDS.length).map(({ kind }) => kind)).size).toBe(FAULT_KINDS.length);
    for (const { atMs } of plan) {
      const open = plan.filter((other) => other.atMs <= atMs && atMs < other.atMs + other.forMs);
      expect(open.length).toBeLessThanOrEqual(2);
    }
  });
});
