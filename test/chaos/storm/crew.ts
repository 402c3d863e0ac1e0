import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { WORKER_KINDS, type WorkerKind } from '../../../workers/kinds.ts';
import { oneOf, type Random } from '../random.ts';

const PROGRAM = path.join(import.meta.dirname, '../../../cli/main.ts');
/** The first pause of an orchestrator before it starts a container again. */
const RESTART_MS = 500;
/** How long an orchestrator waits after SIGTERM. The workers of a run are told to take less. */
const GRACE_MS = 20_000;

interface Member {
  name: string;
  kind: WorkerKind;
  child: ChildProcess;
  /** The signal that the run has sent to it last. A worker that ends without one has ended by itself. */
  sent: NodeJS.Signals | null;
}

/** Runs workers as real processes, several of each kind, and starts one again whenever it ends, as an orchestrator does. */
export class Crew {
  readonly #environment: Record<string, string>;
  readonly #logDir: string;
  readonly #note: (line: string) => void;
  readonly #members: Member[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #stopping = false;
  /** Describes each end of a worker that nobody asked for. */
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

  /** Sends a signal to one worker of a kind, if there is one that runs. */
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

  /** Ends all of them as a deployment does. */
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
    // The folder is another one, so that no `.env` of the person who runs this is read. The process group is another one, so
    // that Ctrl-C does not reach it.
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
