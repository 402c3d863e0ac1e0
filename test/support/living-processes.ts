import { spawnSync } from 'node:child_process';

interface Living {
  pid: number;
  ppid: number;
  args: string;
}

/** Those of the processes that still run. One that has ended and was not waited for yet does not count. */
export function living(pids: readonly number[]): Living[] {
  return processes().filter(({ pid }) => pids.includes(pid));
}

/** What these processes have started, and what that has started in turn. */
export function livingDescendants(parents: readonly number[]): number[] {
  const children = processes().filter(({ ppid }) => parents.includes(ppid));
  const pids = children.map(({ pid }) => pid).filter((pid) => !parents.includes(pid));
  return pids.length === 0 ? [] : [...pids, ...livingDescendants(pids)];
}

function processes(): Living[] {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' });
  const lines = [...stdout.matchAll(/^ *(\d+) +(\d+) +(\S+) +(.*)$/gm)];
  const running = lines.filter(([, , , state]) => !state?.startsWith('Z'));
  return running.map(([, pid, ppid, , args = '']) => ({ pid: Number(pid), ppid: Number(ppid), args }));
}
