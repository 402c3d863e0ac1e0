import { spawn } from 'node:child_process';

/**
 * Runs a shell command once this process is gone, however it went: the kernel then closes the pipe the shell reads from,
 * whereas no handler of our own runs on SIGKILL. Gives the function that calls it off.
 */
export function whenGone(command: string, ...args: string[]): () => void {
  // A line calls it off, the end of the pipe does not. Detached, because Ctrl-C reaches the whole process group.
  const shell = spawn('/bin/sh', ['-c', `read -r _ || ${command}`, 'mnemoq-guard', ...args], {
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  shell.on('error', () => undefined); // no shell, no guard: everything else works
  shell.stdin.on('error', () => undefined);
  shell.unref();
  return () => void shell.stdin.end('\n');
}
