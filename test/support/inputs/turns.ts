/**
 * **test/support/inputs/**: what tests save and ask: turns, records, odd ids, bad values, and how a random test is run again.
 */
import { v7 as uuidv7 } from 'uuid';
import type { ChatInput } from '../../../producers/index.ts';
import { TEXT_BYTES } from '../../../shared/records/jobs.ts';
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

/** One after the other. Each two of them were said in one moment, so that their ids decide, which rise as they are made. */
export function turns(contextId: string, count: number, from = 0): ChatInput[] {
  return Array.from({ length: count }, (_, i) => from + i).map((n) =>
    turn(contextId, n, { createdAt: moment(n - (n % 2)) }),
  );
}

/** Turns as they may come, and the moment under which each is kept. */
export function oddTurns(contextId: string): { input: ChatInput; keptAt: string }[] {
  const said = (createdAt: string, userMessage: string, assistantMessage = 'yes', keptAt = createdAt) => ({
    input: { contextId, userId: 'user-1', userMessage, assistantMessage, createdAt },
    keptAt,
  });
  return [
    // Many in one moment, and some later in its millisecond, saved in another order.
    ...Array.from({ length: 12 }, (_, n) => said(moment(43_200), `tie ${n}`)),
    ...['999', '001', '010'].map((micros) => said(moment(43_200).replace('Z', `${micros}Z`), `${micros} µs later`)),
    said('2025-10-19T20:00:00.000+08:00', 'the same moment, written elsewhere', 'yes', moment(43_200)),
    said('1970-01-01T00:00:00Z', 'the first moment there is', 'yes', '1970-01-01T00:00:00.000Z'),
    said('9998-12-31T23:59:59.999999Z', 'the last moment there is'),
    said('2199-01-01T00:00:00.000Z', 'a clock that is ahead'),
    // A text must not be empty; less than these there cannot be.
    said(moment(1), ' ', '\n'),
    said(moment(2), '\u200B', '\u3000'),
    said(moment(3), 'שלום \u202Egnihtyna\u202C مرحبا', '\uFEFF\uFFFE\uFFFF\uE000\u{10FFFF}'),
    said(moment(4), `a${'\u0301\u0489'.repeat(500)}`, '👩‍👩‍👧‍👦🏳️‍🌈𠀀e\u0301'),
    said(moment(5), 'a NUL \0, a feed \f, <|endoftext|>', '{"json": "\\u0000"}'),
    // As large as a text can be; and one whose characters are three tokens each.
    said(moment(6), 'every word is a token '.repeat(TEXT_BYTES).slice(0, TEXT_BYTES), '𠀀'.repeat(10_000)),
  ];
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
