import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { Queue } from 'bullmq';
import { progressBar } from '../../cli/terminal/output.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { type ResultTable, times } from '../report.ts';
import { enqueue } from './saving.ts';
import { drained, type Stage } from '../stage.ts';
import { medians, timed } from '../statistics.ts';
import { type BenchTurn, generateTurns, take } from '../turns.ts';

const TURNS = 10_000;
const WARM_UP_TURNS = 2_000;
const ROUNDS = 5;
const CONVERSATIONS = 200;

export interface ChatWorkerResult {
  turns: number;
  rounds: number;
  concurrency: number;
  mnemoq: { perSecond: number };
  emptyWorker: { perSecond: number };
  /** The rate of Mnemoq divided by the rate of the empty worker in the same round. */
  ratio: number;
}

interface Contestant {
  queue: Queue;
  memory: MemoryCore;
}

/**
 * Measures how many turns per second one process of the chat worker handles, and beside it a BullMQ worker that does nothing with
 * the same jobs. Both processes are up and warm, and the queue is paused while it is filled. The clock starts when the queue is
 * resumed, and the first job is completed within milliseconds after that. The clock stops when no job waits and none is being
 * worked on. So neither the start of a process nor saving is measured.
 */
export async function measureChatWorker(stage: Stage, scale: number): Promise<ChatWorkerResult> {
  const turns = Math.ceil(TURNS * scale);
  const contextIds = Array.from({ length: CONVERSATIONS }, (_, i) => `bench-worker-${i}`);
  const generator = generateTurns(contextIds);
  const [place] = stage.places;
  const environments = { mnemoq: stage.newEnvironment(place), empty: stage.newEnvironment(place) };
  const { workerConcurrency } = loadConfig(environments.mnemoq, []);
  await stage.startWorkers(environments.mnemoq, 'chat');
  await startEmptyWorker(stage, environments.empty, workerConcurrency);
  const mnemoq = contestant(stage, environments.mnemoq);
  const empty = contestant(stage, environments.empty);

  const measured: { mnemoq: number; empty: number; ratio: number }[] = [];
  const bar = progressBar('chat worker, rounds', ROUNDS);
  const warmUp = take(WARM_UP_TURNS, generator);
  await drain(mnemoq, warmUp);
  await drain(empty, warmUp);
  for (let round = 1; round <= ROUNDS; round++) {
    const batch = take(turns, generator);
    const mnemoqMs = await drain(mnemoq, batch);
    const emptyMs = await drain(empty, batch);
    const rate = (ms: number) => (1000 * turns) / ms;
    measured.push({ mnemoq: rate(mnemoqMs), empty: rate(emptyMs), ratio: emptyMs / mnemoqMs });
    bar.update(round);
  }
  bar.stop();
  const { mnemoq: mnemoqRate, empty: emptyRate, ratio } = medians(measured);
  return {
    turns,
    rounds: ROUNDS,
    concurrency: workerConcurrency,
    mnemoq: { perSecond: mnemoqRate },
    emptyWorker: { perSecond: emptyRate },
    ratio,
  };
}

function contestant(stage: Stage, environment: Record<string, string>): Contestant {
  return { queue: stage.queue('chat', environment), memory: stage.memory(environment) };
}

/** Gives the time until the queue is empty, in ms. */
async function drain({ queue, memory }: Contestant, turns: readonly BenchTurn[]): Promise<number> {
  await queue.pause();
  await enqueue(memory, turns);
  return timed(async () => {
    await queue.resume();
    await drained(queue);
  });
}

async function startEmptyWorker(stage: Stage, environment: Record<string, string>, concurrency: number): Promise<void> {
  const { queuePrefix } = new Keys(false);
  const child = fork(new URL('./empty-worker.ts', import.meta.url), [
    environment['REDIS_URL'] ?? '',
    queuePrefix,
    String(concurrency),
  ]);
  stage.onRelease(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the empty worker ended with code ${code} before it was up`);
  });
  await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => undefined);
}

/** Writes the result for people. */
export function chatWorkerTable(result: ChatWorkerResult): ResultTable {
  const { turns, rounds, concurrency, mnemoq, emptyWorker, ratio } = result;
  return {
    title: 'Through one worker process',
    head: ['of the empty worker', 'worker', 'turns per second'],
    rows: [
      [times(ratio), 'chat worker: validates, tokenizes, encrypts, caches', mnemoq.perSecond],
      [times(1), 'empty BullMQ worker', emptyWorker.perSecond],
    ],
    note: `${turns} turns queued before the clock starts, concurrency ${concurrency}, medians of ${rounds} rounds.`,
  };
}
