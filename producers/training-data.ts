import { z } from 'zod';
import type { Keyring } from '../shared/encryption.ts';
import { MAX_ROWS } from '../shared/long-term.ts';
import { identifier, type MemoryRecord, MODULES, moment, positionOf } from '../shared/records.ts';
import { decodeTokens, openTokens } from '../shared/tokens.ts';
import { validate } from '../shared/validate.ts';
import type { Parts } from './parts.ts';
import { inReadTime } from './reading.ts';

/** What a reflection answers to where a format needs a question: the repository has no other text to put there. */
const REFLECTION_INSTRUCTION = 'Reflect on the conversation so far.';

export const exportOptions = z.strictObject({
  module: z.enum(MODULES).optional(),
  userId: identifier.optional(),
  contextId: identifier.optional(),
  from: moment.optional(),
  to: moment.optional(),
  format: z.enum(['tokens', 'openai', 'sharegpt']),
});
export type ExportOptions = z.input<typeof exportOptions>;
type Format = z.output<typeof exportOptions>['format'];

/**
 * Committed records as JSON lines without line ends, oldest first, ties by id; page by page, so any size takes the same
 * memory. Records that are only in Redis yet are not in it: flush first. Checks the options before the first line.
 */
export function exportTrainingData(options: ExportOptions, parts: Parts): AsyncIterableIterator<string> {
  const { format, ...filter } = validate(exportOptions, options, 'the options');
  return lines(format, filter, parts);
}

async function* lines(
  format: Format,
  filter: Omit<z.output<typeof exportOptions>, 'format'>,
  parts: Parts,
): AsyncIterableIterator<string> {
  let position: string | null = null;
  for (;;) {
    const records: MemoryRecord[] = await inReadTime(parts.longTerm.scan(filter, position, MAX_ROWS), parts);
    for (const record of records) yield JSON.stringify(FORMATTERS[format](record, parts.keyring));
    const last = records.at(-1);
    if (!last || records.length < MAX_ROWS) return;
    position = positionOf(last);
  }
}

const FORMATTERS: Record<Format, (record: MemoryRecord, keyring: Keyring | null) => object> = {
  /** Token ids with their encoding, and all that is known of the record. */
  tokens(record, keyring) {
    const { id, module, userId, contextId, createdAt } = record;
    return { id, module, userId, contextId, createdAt, ...openTokens(record.tokens, keyring, id) };
  },
  /** OpenAI's chat fine-tuning format: https://platform.openai.com/docs/guides/supervised-fine-tuning */
  openai(record, keyring) {
    const [question, answer] = asPair(record, keyring);
    const messages = [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ];
    return { messages, metadata: { id: record.id } };
  },
  /** ShareGPT's conversations, as fine-tuning tools read them: `from` human or gpt, and `value`. */
  sharegpt(record, keyring) {
    const [question, answer] = asPair(record, keyring);
    const conversations = [
      { from: 'human', value: question },
      { from: 'gpt', value: answer },
    ];
    return { id: record.id, conversations };
  },
};

/** A turn as it was said; any other text as the answer to an instruction. */
function asPair(record: MemoryRecord, keyring: Keyring | null): [question: string, answer: string] {
  const text = decodeTokens(openTokens(record.tokens, keyring, record.id));
  return 'text' in text ? [REFLECTION_INSTRUCTION, text.text] : [text.user, text.assistant];
}
