import { median } from '../../bench/statistics.ts';
import { colors, mark, print, printTable } from '../../cli/terminal/output.ts';
import type { Audited } from './audit.ts';
import { type FaultEntry, FAULTS, type FaultKind } from './storm/faults.ts';
import { type Count, COUNTS } from './findings.ts';
import type { Survived } from './storm/storm.ts';

export interface Outcome {
  passed: boolean;
  seed: string;
  /** The command that repeats this run. */
  replay: string;
  appendfsync: string;
  supabase: string;
  saved: { lines: number; acknowledged: number; failedSaves: Record<string, number> };
  reads: { answered: number; failed: number };
  faults: FaultSummary[];
  /** The time from the last save until the queues are empty, nothing is pending and everything is pinned. */
  drainMs: number;
  tookMs: number;
  audited: Audited;
  counts: Record<Count, number>;
  words: Partial<Record<Count, string[]>>;
  /** The folder with the ledger, the logs and the append-only file. It is null when there was no reason to keep them. */
  evidence: string | null;
}

export interface FaultSummary {
  kind: FaultKind;
  what: string;
  times: number;
  /** How often no job was left that could show the recovery. */
  unseen: number;
  medianMs: number | null;
  maxMs: number | null;
}

export function summarize(survived: readonly Survived[]): FaultSummary[] {
  return [...Map.groupBy(survived, ({ kind }) => kind)]
    .map(([kind, all]) => {
      const { what }: FaultEntry = FAULTS[kind];
      const seen = all.map(({ recoveredMs }) => recoveredMs).filter((ms) => ms !== null);
      const times = { times: all.length, unseen: all.length - seen.length };
      return seen.length === 0
        ? { kind, what, ...times, medianMs: null, maxMs: null }
        : { kind, what, ...times, medianMs: median(seen), maxMs: Math.max(...seen) };
    })
    .toSorted((a, b) => (a.kind < b.kind ? -1 : 1));
}

export function printOutcome(outcome: Outcome): void {
  const { faults, counts, words, audited, saved, reads } = outcome;
  const total = faults.reduce((sum, { times }) => sum + times, 0);
  print(`\n${colors.bold(`${total} faults survived`)} (recovery: from the end of the fault to the next job done well)`);
  printTable(
    ['fault', 'times', 'median', 'longest'],
    faults.map(({ what, times, medianMs, maxMs }) => [what, times, seconds(medianMs), seconds(maxMs)]),
  );
  print(
    `\n${saved.acknowledged} of ${saved.lines} saves acknowledged; ${reads.answered} reads answered, ${reads.failed} failed ` +
      `while something was away; drained within ${seconds(outcome.drainMs)} of the last save`,
  );
  print(
    `compared: ${audited.rows} rows in Supabase, ${audited.cachedRecords} cached records, ` +
      `${audited.conversationsRead} conversations read, ${audited.documents} documents on IPFS, ` +
      `${audited.quarantined} poisoned records in quarantine`,
  );
  print(`\n${colors.bold('What must be 0')}`);
  printTable(
    ['', 'count', ''],
    Object.entries(COUNTS).map(([count, what]) => [mark(counts[count as Count] === 0), counts[count as Count], what]),
  );
  for (const [count, found] of Object.entries(words)) {
    print(`\n${COUNTS[count as Count]}:`);
    for (const each of found.slice(0, 5)) print(`  ${each}`);
  }
  if (outcome.evidence) print(`\nevidence: ${outcome.evidence}`);
  const result = outcome.passed ? colors.green('passed') : colors.red('failed');
  print(`\n${result}, seed ${outcome.seed}; the same again: ${outcome.replay}`);
}

function seconds(ms: number | null): string {
  return ms === null ? '–' : `${(ms / 1000).toFixed(1)} s`;
}
