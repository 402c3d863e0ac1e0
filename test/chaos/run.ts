/**
 * **test/chaos/**: a program that saves and reads while everything breaks, and then compares all that is stored with what was
 * acknowledged. It runs as the form `chaos` of `npm run test:deep`.
 */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Audit, type Audited } from './audit.ts';
import { Crew } from './storm/crew.ts';
import type { FaultKind } from './storm/faults.ts';
import { Findings } from './findings.ts';
import { Ledger } from './traffic/ledger.ts';
import { type PlannedFault, planFaults } from './storm/plan.ts';
import { Production } from './traffic/production.ts';
import { randomOf } from './random.ts';
import { Reader } from './traffic/reader.ts';
import { type Outcome, summarize } from './report.ts';
import { Script } from './traffic/script.ts';
import { Stage } from './storm/stage.ts';
import { Storm } from './storm/storm.ts';

export interface RunOptions {
  seed: string;
  turns: number;
  reflections: number;
  /** How long the saving takes. It takes longer when the plan has not had every fault by then. */
  minutes: number;
  appendfsync: 'always' | 'everysec';
  supabase: 'postgrest' | 'embedded';
  /** The number of workers of each kind. */
  workers: number;
  kinds: readonly FaultKind[];
}

export interface Watcher {
  say(line: string): void;
  /** Tells how many of the saves are acknowledged. */
  saved(count: number, of: number): void;
}

/** Saving goes on for this long after the last fault, so that the last recovery is seen. */
const AFTERMATH_MS = 5_000;
/**
 * The time after the last fault within which everything must be done. The job of a killed worker is taken up after up to a
 * minute, a job that was put off waits up to a minute for its next try, an entry of the pending stream is taken over after a
 * minute, and one of these may follow another.
 */
const DRAIN_MS = 240_000;
const POLL_MS = 250;
const POISON = 5;

/**
 * Does one run, from the start of the parts to the audit. Returns null when it was called off. Nothing that it has started is
 * left, however it ends.
 */
export async function runChaos(options: RunOptions, watcher: Watcher, signal: AbortSignal): Promise<Outcome | null> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-chaos-'));
  const run = new Run(options, watcher, dir, signal);
  let outcome: Outcome | null = null;
  try {
    outcome = await run.carryOut();
    return outcome;
  } catch (error) {
    if (signal.aborted) return null;
    watcher.say(`the run itself failed; what there is of evidence: ${dir}`);
    throw error;
  } finally {
    await run.stop();
    const keep = outcome?.evidence !== null && !signal.aborted;
    if (!keep) rmSync(dir, { recursive: true, force: true });
  }
}

class Run {
  readonly #options: RunOptions;
  readonly #watcher: Watcher;
  readonly #dir: string;
  readonly #signal: AbortSignal;
  readonly #findings = new Findings();
  /** How to stop each part that was started. The part that was started last is stopped first. */
  readonly #stops: (() => Promise<unknown>)[] = [];
  readonly #startedAt = Date.now();

  constructor(options: RunOptions, watcher: Watcher, dir: string, signal: AbortSignal) {
    this.#options = options;
    this.#watcher = watcher;
    this.#dir = dir;
    this.#signal = signal;
  }

  async carryOut(): Promise<Outcome> {
    const { seed, turns, reflections, minutes, appendfsync, supabase, workers, kinds } = this.#options;
    const size = { seed, turns, reflections, poison: supabase === 'postgrest' ? POISON : 0 };
    const script = new Script(size);
    const ledger = new Ledger(script);
    const plan = planFaults({ seed, lastMs: minutes * 60_000 - AFTERMATH_MS, kinds });
    const lastsMs = Math.max(minutes * 60_000, endOf(plan) + AFTERMATH_MS);

    this.#watcher.say('starting Redis, Supabase, IPFS and the workers …');
    const stage = await Stage.start({ dir: this.#dir, appendfsync, supabase });
    this.#stops.push(() => stage.stop());
    const poisoned = await stage.poison();
    const crew = new Crew(stage.environment, this.#dir, (line) => this.#note(line));
    this.#stops.push(() => crew.stop());
    await this.#unlessAborted(crew.start(workers));
    const reader = new Reader(stage.environment, ledger, this.#findings);
    this.#stops.push(() => reader.close());
    const production = new Production(ledger, this.#findings);
    this.#stops.push(async () => production.stop());
    const storm = new Storm({ stage, crew, random: randomOf(`${seed} storm`) }, (line) => this.#note(line));

    this.#watcher.say(`${script.length} saves in ${Math.round(lastsMs / 1000)} s, ${plan.length} faults, seed ${seed}`);
    const readersStop = new AbortController();
    const reading = reader.run(seed, readersStop.signal);
    this.#stops.push(async () => readersStop.abort());
    const progress = setInterval(() => this.#watcher.saved(ledger.acknowledgedCount, script.length), POLL_MS);
    this.#stops.push(async () => clearInterval(progress));
    const producing = production.run(size, lastsMs, stage.environment, this.#dir);
    await this.#unlessAborted(
      Promise.all([this.#bounded(producing, lastsMs, ledger), storm.carryOut(plan, this.#signal)]),
    );
    production.stop();
    const savedAt = Date.now();
    clearInterval(progress);
    this.#watcher.saved(ledger.acknowledgedCount, script.length);

    this.#watcher.say('all faults are lifted; waiting until nothing is on its way …');
    await this.#unlessAborted(this.#drain(stage));
    const drainMs = Date.now() - savedAt;
    readersStop.abort();
    await reading;
    const survived = await storm.survived();
    await crew.stop();
    for (const ending of crew.endings) this.#findings.add('badEndings', ending);
    this.#watcher.say('comparing everything that is stored with what was said …');
    const auditor = (await reader.isAnswered(ledger.contextIds[0] ?? ''))
      ? reader
      : await this.#newReader(stage, ledger);
    const audit = new Audit({ stage, ledger, reader: auditor, findings: this.#findings, poisoned });
    const audited = await this.#unlessAborted(audit.run());
    this.#keepEvidence(ledger, plan);
    return this.#outcome(ledger, production, reader, { survived, audited, drainMs });
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0).toReversed()) await stop();
  }

  /** Makes another reader for the comparison when the first one cannot read any more. That is a finding of its own. */
  async #newReader(stage: Stage, ledger: Ledger): Promise<Reader> {
    this.#findings.add('stuck', 'a MemoryCore that was there during the faults cannot read any more');
    const reader = new Reader(stage.environment, ledger, this.#findings);
    this.#stops.push(() => reader.close());
    return reader;
  }

  /** Producers repeat a save until it succeeds. A producer that cannot save long after the last fault is stuck. */
  async #bounded(producing: Promise<void>, lastsMs: number, ledger: Ledger): Promise<void> {
    const over = new AbortController();
    const late = sleep(lastsMs + DRAIN_MS, 'late' as const, { signal: over.signal }).catch(() => null);
    try {
      if ((await Promise.race([producing, late])) !== 'late') return;
      this.#findings.add('stuck', `producers: ${ledger.acknowledgedCount} of ${ledger.entries.length} saved`);
      producing.catch(() => undefined); // they are ended now
    } finally {
      over.abort();
    }
  }

  /** Waits until every queue but the schedule is empty and nothing is pending. When the time is up, it reports what is left. */
  async #drain(stage: Stage): Promise<void> {
    for (const deadline = Date.now() + DRAIN_MS; ; await sleep(POLL_MS)) {
      const left = await leftOn(stage);
      if (left.length === 0) return;
      if (Date.now() < deadline && !this.#signal.aborted) continue;
      for (const words of left) this.#findings.add('stuck', words);
      return;
    }
  }

  #outcome(
    ledger: Ledger,
    { failedSaves }: Production,
    { reads }: Reader,
    {
      survived,
      audited,
      drainMs,
    }: { survived: Awaited<ReturnType<Storm['survived']>>; audited: Audited; drainMs: number },
  ): Outcome {
    const { seed, appendfsync, supabase } = this.#options;
    const passed = this.#findings.areNone;
    return {
      passed,
      seed,
      replay: replayOf(this.#options),
      appendfsync,
      supabase,
      saved: { lines: ledger.entries.length, acknowledged: ledger.acknowledgedCount, failedSaves },
      reads,
      faults: summarize(survived),
      drainMs,
      tookMs: Date.now() - this.#startedAt,
      audited,
      counts: this.#findings.counts,
      words: this.#findings.words,
      evidence: passed ? null : this.#dir,
    };
  }

  #keepEvidence(ledger: Ledger, plan: readonly PlannedFault[]): void {
    const write = (name: string, value: unknown) =>
      writeFileSync(path.join(this.#dir, name), JSON.stringify(value, null, 1));
    write('ledger.json', ledger.entries);
    write('plan.json', plan);
    write('findings.json', { counts: this.#findings.counts, words: this.#findings.words });
  }

  #note(line: string): void {
    appendFileSync(path.join(this.#dir, 'events.log'), `${new Date().toISOString()} ${line}\n`);
  }

  async #unlessAborted<T>(work: Promise<T>): Promise<T> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = () => reject(new Error('called off'));
    this.#signal.addEventListener('abort', abort, { once: true });
    if (this.#signal.aborted) abort();
    try {
      return await Promise.race([work, aborted]);
    } finally {
      this.#signal.removeEventListener('abort', abort);
      work.catch(() => undefined); // what goes on after it was called off has nobody to tell
    }
  }
}

function endOf(plan: readonly PlannedFault[]): number {
  return Math.max(0, ...plan.map(({ atMs, forMs }) => atMs + forMs));
}

async function leftOn({ redis }: Stage): Promise<string[]> {
  try {
    const pending = await redis.xlen('memory:pending');
    const left = pending === 0 ? [] : [`${pending} records are pending`];
    for (const queue of ['chat', 'reflection']) {
      const [waiting, active, delayed] = await Promise.all([
        redis.llen(`bull:${queue}:wait`),
        redis.llen(`bull:${queue}:active`),
        redis.zcard(`bull:${queue}:delayed`),
      ]);
      if (waiting + active + delayed > 0) {
        left.push(`queue ${queue}: ${waiting} waiting, ${active} active, ${delayed} delayed`);
      }
    }
    return left;
  } catch {
    return ['Redis does not answer'];
  }
}

function replayOf(options: RunOptions): string {
  const { seed, turns, reflections, minutes, appendfsync, supabase, workers } = options;
  return (
    `npm run test:chaos -- --seed ${seed} --turns ${turns} --reflections ${reflections} --minutes ${minutes} ` +
    `--appendfsync ${appendfsync} --supabase ${supabase} --workers ${workers}`
  );
}
