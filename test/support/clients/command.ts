import { Readable, Writable } from 'node:stream';
import { tmpdir } from 'node:os';

export interface CommandOptions {
  environment?: Record<string, string>;
  /** Away from the .env and .mnemoq of whoever runs the tests. */
  cwd?: string;
  /** What it reads from standard input; nothing without it. */
  input?: string | Buffer;
}

export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** What `process.exit` throws here, so that nothing after it runs. */
class Exit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs `mnemoq <args>` inside this process: the same program from its first line to its exit code, without the half second
 * in which a process of its own would load it. What only a process has (signals, pipes that close, memory, that nothing
 * keeps it from ending) needs `runCli`. One command runs at a time, because each has the whole of `process` to itself.
 */
export async function runCommand(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const result = last.then(() => runAlone(args, options));
  last = result.catch(() => undefined);
  return result;
}

async function runAlone(
  args: readonly string[],
  { environment = {}, cwd = tmpdir(), input = '' }: CommandOptions,
): Promise<CommandResult> {
  const [stdout, stderr] = [new Collector(), new Collector()];
  const home = process.cwd();
  const restore = replaceProcess({
    argv: [process.execPath, 'mnemoq', ...args],
    env: { PATH: process.env['PATH'], HOME: cwd, ...environment },
    exitCode: undefined,
    exit: (code?: number) => {
      throw new Exit(code ?? Number(process.exitCode ?? 0));
    },
    stdin: standardInput(input),
    stdout,
    stderr,
    // A child of Jest has a channel to it; a command has none.
    channel: undefined,
    connected: undefined,
    send: undefined,
  });
  process.chdir(cwd);
  try {
    // Only now: the program looks at the streams when it is loaded.
    const { runProgram } = await import('../../../cli/program.ts');
    const code = await runProgram().then(
      () => Number(process.exitCode ?? 0),
      (error: unknown) => {
        if (error instanceof Exit) return error.code;
        throw error;
      },
    );
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    process.chdir(home);
    restore();
  }
}

/** Puts these properties in place of those of `process` and gives back what undoes it, listeners included. */
function replaceProcess(properties: Record<string, unknown>): () => void {
  const before = new Map(Object.keys(properties).map((name) => [name, Object.getOwnPropertyDescriptor(process, name)]));
  const listeners = new Map(process.eventNames().map((event) => [event, process.rawListeners(event)]));
  for (const [name, value] of Object.entries(properties)) {
    delete (process as unknown as Record<string, unknown>)[name];
    if (value !== undefined || name === 'exitCode')
      Object.defineProperty(process, name, { value, writable: true, configurable: true, enumerable: true });
  }
  return () => {
    for (const [name, descriptor] of before) {
      delete (process as unknown as Record<string, unknown>)[name];
      if (descriptor) Object.defineProperty(process, name, descriptor);
    }
    for (const event of process.eventNames()) {
      for (const listener of process.rawListeners(event)) {
        if (!listeners.get(event)?.includes(listener)) process.removeListener(event, listener as () => void);
      }
    }
  };
}

class Collector extends Writable {
  readonly #chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}

/** `bytesRead` as a pipe and a file have it. */
function standardInput(input: string | Buffer): Readable {
  const bytes = Buffer.from(input);
  return Object.assign(Readable.from(bytes.length === 0 ? [] : [bytes], { objectMode: false }), {
    bytesRead: bytes.length,
  });
}
