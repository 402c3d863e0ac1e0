import { FAULTS, type FaultKind, type Part } from './faults.ts';
import { type Random, randomOf, shuffled, wholeFrom } from '../random.ts';

export interface PlannedFault {
  kind: FaultKind;
  /** The time from the start of the run. */
  atMs: number;
  forMs: number;
}

export interface PlanOptions {
  seed: string;
  /** No fault begins later than this, unless its kind has not come yet. */
  lastMs: number;
  kinds: readonly FaultKind[];
}

/** The shortest and the longest fault, in ms. */
const FAULT_MS = [1_000, 7_000] as const;
/**
 * The shortest and the longest pause of each track, in ms. The first track nearly always has a fault; the second adds another
 * one now and then.
 */
const PAUSES_MS: readonly (readonly [min: number, max: number])[] = [
  [500, 3_000],
  [3_000, 12_000],
];

/**
 * Decides from the seed alone which fault begins when, and how long it lasts. There are two tracks, so up to two faults overlap,
 * but never two that break the same part. Every kind comes once before any kind comes twice.
 */
export function planFaults({ seed, lastMs, kinds }: PlanOptions): PlannedFault[] {
  const random = randomOf(`${seed} faults`);
  const draw = bagOf(kinds, random);
  const tracks = PAUSES_MS.map((pauseMs) => ({ pauseMs, at: 0, busy: null as Part | null }));
  for (const track of tracks) track.at = wholeFrom(...track.pauseMs, random);
  const plan: PlannedFault[] = [];
  for (;;) {
    const [track, other] = tracks.toSorted((a, b) => a.at - b.at);
    if (!track || (track.at > lastMs && plan.length >= kinds.length)) return plan;
    const kind = draw(other?.busy ?? null);
    const forMs = wholeFrom(...FAULT_MS, random);
    plan.push({ kind, atMs: track.at, forMs });
    track.busy = FAULTS[kind].part;
    track.at += forMs + wholeFrom(...track.pauseMs, random);
  }
}

/** Draws kinds from a bag, which is filled again when it is empty. A kind that would break the part `busy` stays in the bag. */
function bagOf(kinds: readonly FaultKind[], random: Random): (busy: Part | null) => FaultKind {
  let bag: FaultKind[] = [];
  return (busy) => {
    if (bag.length === 0) bag = shuffled(kinds, random);
    const place = bag.findIndex((kind) => FAULTS[kind].part !== busy);
    const [kind] = bag.splice(Math.max(0, place), 1);
    if (kind === undefined) throw new Error('there is no fault to choose from');
    return kind;
  };
}
