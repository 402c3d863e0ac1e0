import type { Keyring } from '../secrets/keyring.ts';
import type { MemoryRecord } from './records.ts';
import { countTokens, decodeTokens, openTokens } from './tokens.ts';

/** A message in the form that chat models take. A reflection or another single text is a system message. */
export interface ContextMessage {
  role: 'user' | 'assistant' | 'system';
  content: string;
}

/** The newest records whose tokens together fit the budget, oldest first. The first one that does not fit ends the list. */
export function withinBudget(records: readonly MemoryRecord[], maxTokens: number): MemoryRecord[] {
  let left = maxTokens;
  const start = records.findLastIndex((record) => (left -= countTokens(record.tokens)) < 0);
  return records.slice(start + 1);
}

export function toMessages(record: MemoryRecord, keyring: Keyring | null): ContextMessage[] {
  const text = decodeTokens(openTokens(record.tokens, keyring, record.id));
  if ('text' in text) return [{ role: 'system', content: text.text }];
  return [
    { role: 'user', content: text.user },
    { role: 'assistant', content: text.assistant },
  ];
}
