/** What must not happen, with the words that the report uses for it. */
export const COUNTS = {
  lost: 'lost',
  duplicated: 'duplicated',
  outOfOrder: 'out of order',
  wrongText: 'wrong text or head',
  wrongCid: 'wrong CID or not pinned',
  failedJobs: "failed jobs that are not the run's own poison",
  wronglyQuarantined: 'quarantined without cause',
  attemptsCounted: 'jobs with more than one attempt counted',
  refusedSaves: 'saves refused for no reason',
  failedReads: 'reads that failed with another error than a part that is away',
  stuck: 'still on its way when the time was up',
  badEndings: 'processes that fell over, or did not end when told to',
} as const;

export type Count = keyof typeof COUNTS;

/** How many findings of each kind are kept in words. The others are only counted. */
const KEPT = 50;

/** Collects everything that should not have happened, counted and in words. */
export class Findings {
  readonly counts: Record<Count, number>;
  readonly words: Partial<Record<Count, string[]>> = {};

  constructor() {
    this.counts = Object.fromEntries(Object.keys(COUNTS).map((count) => [count, 0])) as Record<Count, number>;
  }

  get areNone(): boolean {
    return Object.values(this.counts).every((count) => count === 0);
  }

  add(count: Count, words: string): void {
    this.counts[count] += 1;
    const kept = (this.words[count] ??= []);
    if (kept.length < KEPT) kept.push(words);
  }
}
