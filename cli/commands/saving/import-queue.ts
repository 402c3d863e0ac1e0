import { setTimeout as sleep } from 'node:timers/promises';
import type { MemoryCore } from '../../../producers/index.ts';
import { type ProgressBar, progressBar } from '../../terminal/output.ts';
import { watchForSilence } from '../with-memory.ts';
import type { ImportResult } from './import.ts';

/** The most jobs that may wait, because an import must not fill Redis faster than the workers empty the queue. */
const MAX_WAITING = 5_000;
const POLL_MS = 100;
const NO_WORKER = 'turns are waiting and none is taken: is a chat worker running? (mnemoq worker chat)';

export async function roomInQueue(memory: MemoryCore, signal: AbortSignal): Promise<void> {
  const silence = watchForSilence(NO_WORKER);
  try {
    for (let before = Infinity; ; await sleep(POLL_MS, undefined, { signal })) {
      const now = waiting((await memory.getStats()).queues.chat);
      if (now < MAX_WAITING) return;
      if (now < before) silence.moved();
      before = now;
    }
  } finally {
    silence.stop();
  }
}

/**
 * Resolves with the number of all jobs of the queue that have failed when the queue is empty, and with null when it is not empty
 * after `wait` ms.
 */
export async function waitUntilCached(
  memory: MemoryCore,
  { queued }: ImportResult,
  { json, wait }: { json?: true; wait: number },
  signal: AbortSignal,
): Promise<number | null> {
  const bar: ProgressBar | null = json ? null : progressBar('caching', queued);
  const silence = watchForSilence(NO_WORKER);
  const end = performance.now() + wait;
  try {
    for (let before = Infinity; ; await sleep(POLL_MS, undefined, { signal })) {
      const { chat } = (await memory.getStats()).queues;
      const left = waiting(chat) + (chat['active'] ?? 0) + (chat['delayed'] ?? 0);
      bar?.update(Math.max(0, queued - left));
      if (left === 0) return chat['failed'] ?? 0;
      if (performance.now() >= end) return null;
      if (left < before) silence.moved();
      before = left;
    }
  } finally {
    silence.stop();
    bar?.stop();
  }
}

function waiting(counts: Record<string, number>): number {
  return (counts['waiting'] ?? 0) + (counts['prioritized'] ?? 0) + (counts['paused'] ?? 0);
}
