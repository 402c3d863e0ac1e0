import { v7 as uuidv7 } from 'uuid';
import type { ChatInput } from '../../../producers/index.ts';
import type { MemoryRecord } from '../../../shared/records/records.ts';

/** The n-th moment of a made-up day, a second apart. */
export function moment(n: number): string {
  return new Date(Date.UTC(2025, 9, 19) + n * 1000).toISOString();
}

/** The n-th turn of a conversation; its text tells which one it is. */
export function turn(contextId: string, n: number, more: Partial<ChatInput> = {}): ChatInput {
  return {
    contextId,
    userId: 'user-1',
    userMessage: `question ${n}`,
    assistantMessage: `answer ${n}`,
    createdAt: moment(n),
    ...more,
  };
}

export function turns(contextId: string, count: number, from = 0): ChatInput[] {
  return Array.from({ length: count }, (_, i) => turn(contextId, from + i));
}

/** The n-th record of a conversation, as a worker would have made it. */
export function record(contextId: string, n: number, more: Partial<MemoryRecord> = {}): MemoryRecord {
  return {
    id: uuidv7(),
    contextId,
    userId: 'user-1',
    module: 'chat',
    createdAt: moment(n),
    tokens: { encoding: 'cl100k_base', user: [n], assistant: [n, n] },
    textCache: null,
    cid: null,
    ...more,
  };
}

/** The ids in the receipts of a `saveChats`, in its order. */
export function idsOf({ items }: { items: readonly { id: string }[] }): string[] {
  return items.map(({ id }) => id);
}
