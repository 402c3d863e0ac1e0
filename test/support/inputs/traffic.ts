import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from '@jest/globals';
import type { SupabaseClient } from '@supabase/supabase-js';
import type { Queue } from 'bullmq';
import { v7 as uuidv7 } from 'uuid';
import { type MemoryCore, MnemoqError } from '../../../producers/index.ts';
import { eventually } from '../faults/eventually.ts';
import { turn } from './turns.ts';

/** Between two saves of one conversation: people type slower. */
const PAUSE_MS = 250;
const REFLECTION_EVERY = 5;
/**
 * A job that was in hand on a node that died is taken up again when its lock has run out, after a minute at most; entries a
 * flush had in hand, a minute after that. A busy machine and a node that died meanwhile come on top.
 */
const SETTLED_WITHIN_MS = 240_000;

export interface Traffic {
  /** Ids of the acknowledged records of each conversation, in the order they were saved. */
  turns: ReadonlyMap<string, readonly string[]>;
  reflections: ReadonlyMap<string, readonly string[]>;
  /** Codes of the errors saves were answered with; each of them was saved again with the same id. */
  refusals: string[];
  /** Resolves when so many more turns are acknowledged, or so many more saves refused. */
  acknowledged(more: number): Promise<void>;
  refused(more: number): Promise<void>;
  /** Stops saving; every save begun is acknowledged when it resolves. */
  stop(): Promise<void>;
}

/**
 * Callers that save turn after turn, one conversation each, and now and then a reflection. A save that is answered with
 * an error may have arrived or not, so they save it again under the same id until it is acknowledged.
 */
export function startTraffic(memory: MemoryCore, contextIds: readonly string[]): Traffic {
  const turns = new Map<string, string[]>(contextIds.map((contextId) => [contextId, []]));
  const reflections = new Map<string, string[]>(contextIds.map((contextId) => [contextId, []]));
  const refusals: string[] = [];
  const stopping = new AbortController();

  const insist = async (save: () => Promise<unknown>): Promise<void> => {
    for (;;) {
      try {
        await save();
        return;
      } catch (error) {
        refusals.push(error instanceof MnemoqError ? error.code : String(error));
      }
    }
  };
  const converse = async (contextId: string): Promise<void> => {
    for (let n = 0; !stopping.signal.aborted; n += 1) {
      const id = uuidv7();
      await insist(() => memory.saveChat(turn(contextId, n, { id })));
      turns.get(contextId)?.push(id);
      if (n % REFLECTION_EVERY === 0) {
        const reflection = { id: uuidv7(), contextId, reflectionText: `thought ${n}` };
        await insist(() => memory.saveReflection(reflection));
        reflections.get(contextId)?.push(reflection.id);
      }
      await sleep(PAUSE_MS);
    }
  };
  const conversations = contextIds.map(converse);
  const count = () => [...turns.values()].reduce((sum, ids) => sum + ids.length, 0);
  return {
    turns,
    reflections,
    refusals,
    async acknowledged(more) {
      const before = count();
      await eventually(() => count() >= before + more);
    },
    async refused(more) {
      const before = refusals.length;
      await eventually(() => refusals.length >= before + more);
    },
    async stop() {
      stopping.abort();
      await Promise.all(conversations);
    },
  };
}

/** Resolves when no queue has anything left to do and nothing is pending; fails telling what is left. */
export async function settled(queues: readonly Queue[], memory: MemoryCore): Promise<void> {
  let left: [string, number][] = [];
  const isSettled = async () => {
    const counts = await Promise.all(queues.map(countLeft));
    const { pendingQueueLength } = await memory.getStats();
    left = [...counts.flat(), ['pending', pendingQueueLength] as [string, number]].filter(([, count]) => count > 0);
    return left.length === 0;
  };
  await eventually(isSettled, SETTLED_WITHIN_MS).catch(() => {
    throw new Error(`not settled within ${SETTLED_WITHIN_MS} ms; left: ${JSON.stringify(left)}`);
  });
}

async function countLeft(queue: Queue): Promise<[string, number][]> {
  const counts = await queue.getJobCounts('waiting', 'active', 'delayed');
  // The next flush of the schedule is always delayed.
  return Object.entries(counts).flatMap(([state, count]) =>
    queue.name === 'flush' && state === 'delayed' ? [] : [[`${queue.name} ${state}`, count] as [string, number]],
  );
}

/** What must be true of all that was saved, whatever happened on the way. */
export async function expectAllOnce(
  { turns: saved, reflections, refusals }: Traffic,
  queues: readonly Queue[],
  memory: MemoryCore,
  supabase: SupabaseClient,
): Promise<void> {
  for (const queue of queues) expect([queue.name, await queue.getFailedCount()]).toEqual([queue.name, 0]);
  expect(new Set(refusals)).toEqual(new Set(refusals.length > 0 ? ['redis_unavailable'] : []));
  for (const [contextId, ids] of saved) {
    const thoughts = reflections.get(contextId) ?? [];
    const { data } = await supabase.from('memories').select('id').eq('context_id', contextId);
    expect((data ?? []).map(({ id }) => id as string).toSorted()).toEqual([...ids, ...thoughts].toSorted());
    const { items: records } = await memory.getMemoryContext(contextId, { limit: 1000 });
    const said = records.filter(({ module }) => module === 'chat');
    expect(said.map(({ id, userMessage, assistantMessage }) => ({ id, userMessage, assistantMessage }))).toEqual(
      ids.map((id, n) => ({ id, userMessage: `question ${n}`, assistantMessage: `answer ${n}` })),
    );
    const thought = records.filter(({ module }) => module === 'reflection');
    expect(thought.map(({ id }) => id)).toEqual(thoughts);
    const recent = await memory.loadRecentContext(contextId, { limit: 10 });
    expect(recent.items.map(({ id }) => id)).toEqual(records.slice(-10).map(({ id }) => id));
    expect(await memory.getStatus(ids[0] ?? '')).toMatchObject({ status: 'committed' });
    for (const id of thoughts) expect(await memory.getStatus(id)).toMatchObject({ status: 'pinned' });
  }
}
