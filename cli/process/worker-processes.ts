import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { CommandEnd, EXIT } from '../terminal/exit.ts';
import { say } from '../terminal/output.ts';

const PROGRAM = path.join(import.meta.dirname, '..', `main${path.extname(import.meta.filename)}`);
/** A command that fell over is started again after this, so that a broken one does not spin. */
const RESTART_MS = 1_000;

export interface WorkerProcessesOptions {
  /** Where they run; the folder of this process without it. */
  cwd?: string | undefined;
}

/** Long-running `mnemoq` commands as processes of their own, started again when they fall over, until they are stopped. */
export class WorkerProcesses {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #cwd: string | undefined;
  readonly #running = new Set<ChildProcess>();
  #stopping = false;

  /** `environment` adds to this process's own; undefined takes a variable away. */
  constructor(environment: Readonly<Record<string, string | undefined>>, { cwd }: WorkerProcessesOptions = {}) {
    this.#environment = { ...process.env, ...environment };
    this.#cwd = cwd;
  }

  /** Starts `mnemoq <args>`; resolves when it says that it is up, with what it says. */
  async start(...args: string[]): Promise<unknown> {
    // Its own process group: Ctrl-C reaches it through stop(), which waits for it, and not twice.
    const child = fork(PROGRAM, args, {
      env: this.#environment,
      ...(this.#cwd !== undefined && { cwd: this.#cwd }),
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      detached: true,
    });
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    const ended = once(child, 'exit').then(([code]) => {
      // Why, it has said itself, on the same standard error.
      throw new CommandEnd(code ?? EXIT.failed, `mnemoq ${args.join(' ')} ended before it was up`);
    });
    const [message] = await Promise.race([once(child, 'message'), ended]);
    ended.catch(() => undefined);
    child.once('exit', (code) => this.#restart(args, code));
    return message;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const exits = [...this.#running].map((child) => {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      return exited;
    });
    await Promise.all(exits);
  }

  #restart(args: readonly string[], code: number | null): void {
    if (this.#stopping) return;
    say(`mnemoq ${args.join(' ')} ended with code ${code}; starting it again`);
    setTimeout(() => {
      if (!this.#stopping) this.start(...args).catch(() => this.#restart(args, null));
    }, RESTART_MS).unref();
  }
}
