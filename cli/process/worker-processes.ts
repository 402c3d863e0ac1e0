import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { CommandEnd, EXIT } from '../terminal/exit.ts';
import { say } from '../terminal/output.ts';

const PROGRAM = path.join(import.meta.dirname, '..', `main${path.extname(import.meta.filename)}`);
/** A command that ended by an error is started again after this time, so that a broken one does not use all of the machine. */
const RESTART_MS = 1_000;

export interface WorkerProcessesOptions {
  /** The folder in which they run. Without it, they run in the folder of this process. */
  cwd?: string | undefined;
}

/** Runs `mnemoq` commands that stay, each as a process of its own. A command that ends by an error is started again. */
export class WorkerProcesses {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #cwd: string | undefined;
  readonly #running = new Set<ChildProcess>();
  #stopping = false;

  /** `environment` is added to the environment of this process. The value undefined removes a variable. */
  constructor(environment: Readonly<Record<string, string | undefined>>, { cwd }: WorkerProcessesOptions = {}) {
    this.#environment = { ...process.env, ...environment };
    this.#cwd = cwd;
  }

  /** Starts `mnemoq <args>` and resolves with its first message, which says that it is up. */
  async start(...args: string[]): Promise<unknown> {
    // It has its own process group, so Ctrl-C reaches it only once, through stop(), which waits for its end.
    const child = fork(PROGRAM, args, {
      env: this.#environment,
      ...(this.#cwd !== undefined && { cwd: this.#cwd }),
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      detached: true,
    });
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    const ended = once(child, 'exit').then(([code]) => {
      // It has said the reason itself, on the same standard error.
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
