import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { WORKER_KINDS, type WorkerKind } from '../../../workers/kinds.ts';
import { oneOf, type Random } from '../random.ts';

const PROGRAM = path.join(import.meta.dirname, '../../../cli/main.ts');
/** As an orchestrator's back-off begins. */
const RESTART_MS = 500;
/** An orchestrator's patience after SIGTERM; the workers of a run are told to take less. */
const GRACE_MS = 20_000;

interface Member {
  name: string;
  kind: WorkerKind;
  child: ChildProcess;
  /** What the run did to it last; an end without it is the worker's own doing. */
  sent: NodeJS.Signals | null;
}

/** Workers as real processes, several of each kind, started again whenever one ends, as an orchestrator would. */
export class Crew {
  readonly #environment: Record<string, string>;
  readonly #logDir: string;
  readonly #note: (line: string) => void;
  readonly #members: Member[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #stopping = false;
  /** Ends that nobody asked for, in words. */
  readonly endings: string[] = [];

  constructor(environment: Record<string, string>, logDir: string, note: (line: string) => void) {
    this.#environment = environment;
    this.#logDir = logDir;
    this.#note = note;
  }

  /** Starts `count` of each kind and waits until all are up. */
  async start(count: number): Promise<void> {
    const names = WORKER_KINDS.flatMap((kind) =>
      Array.from({ length: count }, (_, n) => ({ kind, name: `${kind}-${n}` })),
    );
    for (const { kind, name } of names) {
      const member: Member = { name, kind, child: this.#fork(kind, name), sent: null };
      this.#members.push(member);
      this.#supervise(member);
    }
    await Promise.all(this.#members.map(({ child, name }) => isUp(child, name)));
  }

  /** Sends a signal to one worker of a kind, if one runs. */
  strike(kind: WorkerKind, signal: 'SIGKILL' | 'SIGTERM', random: Random): void {
    const running = this.#members.filter((member) => member.kind === kind && isRunning(member.child));
    const [first, ...rest] = running;
    if (!first) return;
    const member = oneOf([first, ...rest], random);
    member.sent = signal;
    this.#note(`${signal} to ${member.name}`);
    if (signal === 'SIGKILL') member.child.kill(signal);
    else void this.#terminate(member);
  }

  /** Ends them all as a deployment would. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const running = this.#members.filter(({ child }) => isRunning(child));
    await Promise.all(running.map((member) => this.#terminate(member)));
  }

  async #terminate({ name, child }: Member): Promise<void> {
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    const patience = setTimeout(() => {
      this.endings.push(`${name} did not end within ${GRACE_MS} ms of SIGTERM`);
      child.kill('SIGKILL');
    }, GRACE_MS);
    await exited;
    clearTimeout(patience);
  }

  #fork(kind: WorkerKind, name: string): ChildProcess {
    const log = openSync(path.join(this.#logDir, `${name}.log`), 'a');
    // Away from the .env of whoever runs this, and out of the process group that Ctrl-C reaches.
    const child = fork(PROGRAM, ['worker', kind], {
      cwd: this.#logDir,
      env: this.#environment,
      execArgv: [],
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    });
    closeSync(log);
    return child;
  }

  #supervise(member: Member): void {
    member.child.once('exit', (code, signal) => {
      if (this.#stopping) return;
      const ending = `${member.name} ended with ${signal ?? code}`;
      if (member.sent === null) this.endings.push(ending);
      this.#note(ending);
      member.sent = null;
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        member.child = this.#fork(member.kind, member.name);
        this.#supervise(member);
      }, RESTART_MS);
      this.#timers.add(timer);
    });
  }
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

async function isUp(child: ChildProcess, name: string): Promise<void> {
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${name} ended with code ${code} before it was up: see its log`);
  });
  await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => undefined);
}
