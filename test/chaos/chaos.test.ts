import { describe, expect, test } from '@jest/globals';
import { FAULT_KINDS } from './faults.ts';
import { COUNTS } from './findings.ts';
import { planFaults } from './plan.ts';
import { runChaos } from './run.ts';

/** The short form of `npm run test:chaos`: every fault once, faster after each other than there. */
const SHORT = {
  seed: 'short',
  turns: 1_200,
  reflections: 30,
  minutes: 0.5,
  appendfsync: 'always',
  supabase: 'postgrest',
  workers: 2,
  kinds: FAULT_KINDS,
  scale: 0.4,
} as const;

describe('a chaos run', () => {
  test('with every fault once loses nothing, doubles nothing, mixes nothing up and needs nobody', async () => {
    const outcome = await runChaos(
      SHORT,
      { say: () => undefined, saved: () => undefined },
      new AbortController().signal,
    );
    const zeros = Object.fromEntries(Object.keys(COUNTS).map((count) => [count, 0]));
    // The words say what was found, and where the evidence is.
    expect(outcome).toMatchObject({ words: {}, evidence: null, counts: zeros, passed: true });
    expect(outcome?.faults.map(({ kind }) => kind)).toEqual(FAULT_KINDS.toSorted());
    expect(outcome?.saved.acknowledged).toBeGreaterThan(1_100);
    expect(outcome?.audited).toMatchObject({ documents: 30, quarantined: 5 });
  }, 420_000);

  test('can be had again: the same seed is the same plan, another one is another', () => {
    const planned = (seed: string) => planFaults({ seed, lastMs: 480_000, kinds: FAULT_KINDS, scale: 1 });
    expect(planned('a')).toEqual(planned('a'));
    expect(planned('b')).not.toEqual(planned('a'));
  });

  test('has every fault before it has one twice, and at most two at once', () => {
    const plan = planFaults({ seed: 'a', lastMs: 480_000, kinds: FAULT_KINDS, scale: 1 });
    expect(new Set(plan.slice(0, FAULT_KINDS.length).map(({ kind }) => kind)).size).toBe(FAULT_KINDS.length);
    for (const { atMs } of plan) {
      const open = plan.filter((other) => other.atMs <= atMs && atMs < other.atMs + other.forMs);
      expect(open.length).toBeLessThanOrEqual(2);
    }
  });
});
