import type { Keyring } from '../../shared/secrets/keyring.ts';
import { type ContextMessage, toMessages } from '../../shared/records/messages.ts';
import { parsePosition, positionOf } from '../../shared/records/position.ts';
import type { MemoryRecord, Module } from '../../shared/records/records.ts';
import { recordId } from '../../shared/identifiers.ts';
import { moment } from '../../shared/moments.ts';
import type { Encoding } from '../../shared/records/tokenizer.ts';
import { countTokens, decodeTokens, openTokens } from '../../shared/records/tokens.ts';
import { notACursor } from '../parts/page.ts';

/** A record as text. A turn has `userMessage` and `assistantMessage`, and every other record has `text`. */
export interface ContextRecord {
  id: string;
  contextId: string;
  userId: string | null;
  module: Module;
  createdAt: string;
  tokenCount: number;
  cid: string | null;
  userMessage?: string;
  assistantMessage?: string;
  text?: string;
}

/** A record as token ids. */
export type ContextTokens = { id: string; encoding: Encoding } & (
  { user: number[]; assistant: number[] } | { text: number[] }
);

export type ContextFormat = 'turns' | 'messages' | 'tokens';
export type Formatted = { turns: ContextRecord; messages: ContextMessage; tokens: ContextTokens };

export function format<F extends ContextFormat>(
  as: F,
  records: readonly MemoryRecord[],
  keyring: Keyring | null,
): Formatted[F][] {
  const formatters: { [K in ContextFormat]: (record: MemoryRecord) => Formatted[K][] } = {
    turns: (record) => [toContextRecord(record, keyring)],
    messages: (record) => toMessages(record, keyring),
    tokens: (record) => [{ id: record.id, ...openTokens(record.tokens, keyring, record.id) }],
  };
  return records.flatMap(formatters[as]);
}

export function toContextRecord(record: MemoryRecord, keyring: Keyring | null): ContextRecord {
  const { id, contextId, userId, module, createdAt, cid } = record;
  const text = decodeTokens(openTokens(record.tokens, keyring, id));
  const head = { id, contextId, userId, module, createdAt, tokenCount: countTokens(record.tokens), cid };
  return 'text' in text ? { ...head, ...text } : { ...head, userMessage: text.user, assistantMessage: text.assistant };
}

/** The end of a page as an opaque word. `fromCursor` gives back the position that it stands for. */
export function toCursor(record: Pick<MemoryRecord, 'createdAt' | 'id'>): string {
  return Buffer.from(positionOf(record)).toString('base64url');
}

export function fromCursor(cursor: string): string {
  const position = Buffer.from(cursor, 'base64url').toString();
  const { createdAt, id } = parsePosition(position);
  const exists = moment.safeParse(createdAt).data === createdAt && recordId.safeParse(id).data === id;
  if (exists && positionOf({ createdAt, id }) === position) return position;
  throw notACursor(cursor);
}
