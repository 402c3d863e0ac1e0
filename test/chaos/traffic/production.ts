import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Findings } from '../findings.ts';
import type { Ledger } from './ledger.ts';
import type { Assignment, Report } from './producer.ts';
import type { ScriptSize } from './script.ts';

const PROGRAM = path.join(import.meta.dirname, 'producer.ts');
const PRODUCERS = 2;
const RESTART_MS = 1_000;

/** Runs the producers as real processes. What they are promised goes into the ledger. */
export class Production {
  readonly #children = new Set<ChildProcess>();
  readonly #ledger: Ledger;
  readonly #findings: Findings;
  #stopping = false;
  /** The number of saves that failed because a part was away, for each code of an error. */
  readonly failedSaves: Record<string, number> = {};

  constructor(ledger: Ledger, findings: Findings) {
    this.#ledger = ledger;
    this.#findings = findings;
  }

  /** Resolves when the whole script is saved. A producer that ends too early is started again, and goes on where it was. */
  async run(size: ScriptSize, lastsMs: number, environment: Record<string, string>, logDir: string): Promise<void> {
    const startedAt = Date.now();
    const parts = Array.from({ length: PRODUCERS }, async (_, part) => {
      while (!this.#stopping) {
        const saved = this.#ledger.entries
          .filter(({ acknowledgedAt }) => acknowledgedAt > 0)
          .map(({ number }) => number);
        const assignment = { size, part, of: PRODUCERS, startedAt, lastsMs, saved };
        if (await this.#produce(assignment, environment, logDir)) return;
        await sleep(RESTART_MS);
      }
    });
    await Promise.all(parts);
  }

  stop(): void {
    this.#stopping = true;
    for (const child of this.#children) child.kill('SIGKILL');
  }

  /** Runs one producer from its start to its end. Returns false when it did not come to the end of its part. */
  async #produce(assignment: Assignment, environment: Record<string, string>, logDir: string): Promise<boolean> {
    const log = openSync(path.join(logDir, `producer-${assignment.part}.log`), 'a');
    const child = fork(PROGRAM, [], {
      cwd: logDir,
      env: environment,
      execArgv: [],
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    });
    closeSync(log);
    this.#children.add(child);
    let done = false;
    child.on('message', (report: Report) => {
      if (report.type === 'done') done = true;
      else this.#take(report);
    });
    child.send(assignment);
    const [code, signal] = await once(child, 'exit');
    this.#children.delete(child);
    if (!done && !this.#stopping) {
      this.#findings.add('badEndings', `producer-${assignment.part} ended with ${signal ?? code}: see its log`);
    }
    return done;
  }

  #take(report: Exclude<Report, { type: 'done' }>): void {
    if (report.type === 'acknowledged') this.#ledger.acknowledge(report.number, report.finished);
    else if (report.type === 'failed') this.failedSaves[report.code] = (this.failedSaves[report.code] ?? 0) + 1;
    else this.#findings.add('refusedSaves', `line ${report.number}: ${report.reason}`);
  }
}
