import { z } from 'zod';
import type { Keyring } from '../../shared/secrets/keyring.ts';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import { positionOf } from '../../shared/records/position.ts';
import { type MemoryRecord, MODULES, type PinnedModule } from '../../shared/records/records.ts';
import { identifier } from '../../shared/identifiers.ts';
import { moment } from '../../shared/moments.ts';
import { decodeTokens, openTokens } from '../../shared/records/tokens.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { inReadTime } from '../reading/reading.ts';

/** The instruction to which a text that is no reply answers, for formats that need a question. */
const INSTRUCTIONS: Record<PinnedModule, string> = {
  reflection: 'Reflect on the conversation so far.',
  finetune: 'Report what the training produced.',
  knowledge: 'Share something worth knowing.',
};

/** Tokens read at once, whatever the size of the records. They are about 8 MB of JSON. */
const PAGE_TOKENS = 1_000_000;

export const exportOptions = z.strictObject({
  module: z.enum(MODULES).optional(),
  userId: identifier.optional(),
  contextId: identifier.optional(),
  from: moment.optional(),
  to: moment.optional(),
  format: z.enum(['tokens', 'openai', 'sharegpt']),
});
export type TrainingDataOptions = z.input<typeof exportOptions>;
type Format = z.output<typeof exportOptions>['format'];

/**
 * Committed records as lines of JSON without line ends, oldest first, ties by id. They are read page by page, so any
 * number of them takes the same memory. Records that are only in Redis yet are left out, so a caller who wants them
 * flushes first. Nothing of an erased user or conversation is given, also while the erasure is under way. The options
 * are checked before the first line.
 */
export function exportTrainingData(options: TrainingDataOptions, parts: CallParts): AsyncIterableIterator<string> {
  const { format, ...filter } = validate(exportOptions, options, 'the options');
  return lines(format, filter, parts);
}

/** How many lines there will be, for a progress bar. Records may come and go until they are read. */
export async function countTrainingData(options: TrainingDataOptions, parts: CallParts): Promise<number> {
  const { format: _any, ...filter } = validate(exportOptions, options, 'the options');
  return inReadTime(parts.longTerm.memories.count(filter), parts);
}

async function* lines(
  format: Format,
  filter: Omit<z.output<typeof exportOptions>, 'format'>,
  parts: CallParts,
): AsyncIterableIterator<string> {
  const read = (position: string | null) =>
    inReadTime(parts.longTerm.memories.scan(filter, position, MAX_ROWS, PAGE_TOKENS), parts);
  let records: MemoryRecord[] = await read(null);
  for (let last = records.at(-1); last; last = records.at(-1)) {
    for (const record of await inReadTime(parts.erasures.spare(records), parts)) {
      yield JSON.stringify(FORMATTERS[format](record, parts.keyring));
    }
    records = await read(positionOf(last));
  }
}

const FORMATTERS: Record<Format, (record: MemoryRecord, keyring: Keyring | null) => object> = {
  /** The token ids with their encoding, and all that is known of the record. */
  tokens(record, keyring) {
    const { id, module, userId, contextId, createdAt } = record;
    return { id, module, userId, contextId, createdAt, ...openTokens(record.tokens, keyring, id) };
  },
  /**
   * OpenAI's format for fine-tuning with chats, https://platform.openai.com/docs/guides/supervised-fine-tuning. Its
   * schema (FineTuneChatRequestInput) leaves room for further fields, and `metadata` is where other files of OpenAI
   * have ids.
   */
  openai(record, keyring) {
    const [question, answer] = asPair(record, keyring);
    const messages = [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ];
    return { messages, metadata: { id: record.id } };
  },
  /** The conversations of ShareGPT as fine-tuning tools read them: `from` is human or gpt, and `value` the text. */
  sharegpt(record, keyring) {
    const [question, answer] = asPair(record, keyring);
    const conversations = [
      { from: 'human', value: question },
      { from: 'gpt', value: answer },
    ];
    return { id: record.id, conversations };
  },
};

/** A turn as it was said. Any other text is the answer to an instruction. */
function asPair(record: MemoryRecord, keyring: Keyring | null): [question: string, answer: string] {
  const text = decodeTokens(openTokens(record.tokens, keyring, record.id));
  return 'text' in text ? [INSTRUCTIONS[record.module as PinnedModule], text.text] : [text.user, text.assistant];
}
