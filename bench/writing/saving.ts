/**
 * **bench/writing/**: what saves and flushes cost, from the acknowledgement to the commit of a large backlog.
 */
import type { Queue } from 'bullmq';
import type { MemoryCore } from '../../producers/index.ts';
import { drained } from '../stage.ts';
import type { BenchTurn } from '../turns.ts';

/** The number of turns that are put into the queue at once. BullMQ is fastest with about this number. */
const CHUNK = 500;

/** Puts turns into the queue. */
export async function enqueue(memory: MemoryCore, turns: readonly BenchTurn[]): Promise<void> {
  for (let start = 0; start < turns.length; start += CHUNK) await memory.saveChats(turns.slice(start, start + CHUNK));
}

/** Puts turns into the queue and waits until the chat worker has finished all of them. */
export async function cache(memory: MemoryCore, queue: Queue, turns: readonly BenchTurn[]): Promise<void> {
  await enqueue(memory, turns);
  await drained(queue);
}
