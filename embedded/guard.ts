import { spawn } from 'node:child_process';

/**
 * Runs a shell command when this process has ended, in whatever way. A shell waits at a pipe, and the kernel closes that pipe
 * when the process is gone. A handler of the process itself would not run on SIGKILL. Returns a function that calls it off.
 */
export function whenGone(command: string, ...args: string[]): () => void {
  // A line in the pipe calls it off; the end of the pipe does not. Detached, because Ctrl-C reaches the whole process group.
  const shell = spawn('/bin/sh', ['-c', `read -r _ || ${command}`, 'mnemoq-guard', ...args], {
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  shell.on('error', () => undefined); // without a shell there is no guard, and everything else works
  shell.stdin.on('error', () => undefined);
  shell.unref();
  return () => void shell.stdin.end('\n');
}
