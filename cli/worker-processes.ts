import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { say } from './output.ts';

const PROGRAM = path.join(import.meta.dirname, `main${path.extname(import.meta.filename)}`);
/** A command that fell over is started again after this, so that a broken one does not spin. */
const RESTART_MS = 1_000;

/** Long-running `mnemoq` commands as processes of their own, started again when they fall over, until they are stopped. */
export class WorkerProcesses {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #running = new Set<ChildProcess>();
  #stopping = false;

  constructor(environment: Record<string, string>) {
    this.#environment = { ...process.env, ...environment };
  }

  /** Starts `mnemoq <args>`; resolves when it says that it is up. */
  async start(...args: string[]): Promise<void> {
    // Its own process group: Ctrl-C reaches it through stop(), which waits for it, and not twice.
    const child = fork(PROGRAM, args, {
      env: this.#environment,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      detached: true,
    });
    this.#running.add(child);
    child.once('exit', (code) => {
      this.#running.delete(child);
      if (this.#stopping) return;
      say(`mnemoq ${args.join(' ')} ended with code ${code}; starting it again`);
      setTimeout(() => void this.start(...args).catch(() => undefined), RESTART_MS).unref();
    });
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`mnemoq ${args.join(' ')} ended with code ${code} before it was up`);
    });
    await Promise.race([once(child, 'message'), ended]);
    ended.catch(() => undefined);
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
}
