import { setTimeout as sleep } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import { type MemoryCore, MnemoqError } from '../../producers/index.ts';
import { eventually } from './eventually.ts';
import { turn } from './turns.ts';

/** Between two saves of one conversation: people type slower. */
const PAUSE_MS = 250;
const REFLECTION_EVERY = 5;

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
