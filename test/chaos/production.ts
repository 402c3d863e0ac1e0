import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import type { Findings } from './findings.ts';
import type { Ledger } from './ledger.ts';
import type { Assignment, Report } from './producer.ts';
import type { ScriptSize } from './script.ts';

const PROGRAM = path.join(import.meta.dirname, 'producer.ts');
const PRODUCERS = 2;

/** The producers as real processes; what they are promised goes into the ledger. */
export class Production {
  readonly #children: ChildProcess[] = [];
  readonly #ledger: Ledger;
  readonly #findings: Findings;
  /** Saves that failed with an error that tells of a part that is away, by its code. */
  readonly failedSaves: Record<string, number> = {};

  constructor(ledger: Ledger, findings: Findings) {
    this.#ledger = ledger;
    this.#findings = findings;
  }

  /** Resolves when the whole script is saved. */
  async run(size: ScriptSize, lastsMs: number, environment: Record<string, string>, logDir: string): Promise<void> {
    const done = Array.from({ length: PRODUCERS }, async (_, part) => {
      const log = openSync(path.join(logDir, `producer-${part}.log`), 'a');
      const child = fork(PROGRAM, [], {
        cwd: logDir,
        env: environment,
        execArgv: [],
        stdio: ['ignore', log, log, 'ipc'],
        detached: true,
      });
      closeSync(log);
      this.#children.push(child);
      let finished = false;
      child.on('message', (report: Report) => {
        if (report.type === 'done') finished = true;
        else this.#take(report);
      });
      child.send({ size, part, of: PRODUCERS, lastsMs } satisfies Assignment);
      const [code, signal] = await once(child, 'exit');
      if (!finished) throw new Error(`a producer ended with ${signal ?? code} before it was through: see its log`);
    });
    await Promise.all(done);
  }

  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  #take(report: Exclude<Report, { type: 'done' }>): void {
    if (report.type === 'acknowledged') this.#ledger.acknowledge(report.number, report.finished);
    else if (report.type === 'failed') this.failedSaves[report.code] = (this.failedSaves[report.code] ?? 0) + 1;
    else this.#findings.add('refusedSaves', `line ${report.number}: ${report.reason}`);
  }
}
