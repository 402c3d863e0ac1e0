/**
 * **doors/wire/answers/**: what is answered, by subject: the checks that hold an answer to its type, and the words in which the
 * document describes it. What a request may ask stands in the folder above.
 */
import { z } from 'zod';
import { ENCODINGS } from '../../../shared/records/tokenizer.ts';
import { snakeAnswer } from '../snake-case.ts';

/** Words for what appears in more than one answer. */
export const id = z.string().meta({ description: "The record's UUID.", format: 'uuid' });
export const contextId = z.string().describe('The conversation.');
export const userId = z.string().nullable().describe('Whose record it is; null for nobody in particular.');
export const createdAt = z.string().meta({ description: 'ISO 8601, UTC.', format: 'date-time' });
export const time = (description: string) => z.string().nullable().meta({ description, format: 'date-time' });
export const cid = z.string().nullable().describe('Its address on IPFS; null until it is pinned, and for a turn.');
export const count = (description: string) => z.int().min(0).describe(description);

/** Under this name in the document. */
export function named<T>(name: string, schema: z.ZodType<T>, description: string) {
  return snakeAnswer(schema).meta({ id: name, description });
}

export const encoding = z.enum(ENCODINGS).describe("tiktoken's name of the encoding.");

/** What every list answers with. `more` says why something may be missing from it, where that can be. */
export function listOf<T>(item: z.ZodType<T>, order: string, more = '') {
  return {
    items: z.array(item).describe(order),
    nextCursor: z
      .string()
      .nullable()
      .describe('`cursor` of the next page, also in the header Link; null after the last one.'),
    complete: completeness(more),
  };
}

/** The same for a list that has one page only. */
export function onlyPageOf<T>(item: z.ZodType<T>, order: string, more = '') {
  const nextCursor = z.null().describe('Always null: there are no further pages.');
  return { items: z.array(item).describe(order), nextCursor, complete: completeness(more) };
}

function completeness(more: string) {
  const means = 'True unless something that belongs between the first and the last item may be missing.';
  return z.boolean().describe(more === '' ? means : `${means} ${more}`);
}
