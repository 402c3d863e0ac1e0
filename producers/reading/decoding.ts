import { z } from 'zod';
import { TEXT_BYTES } from '../../shared/records/jobs.ts';
import { decode, type Encoding, ENCODINGS } from '../../shared/records/tokenizer.ts';
import { listOf, validate } from '../../shared/validate.ts';

/** Far more tokens than the longest text has, whose tokens are one byte long at worst. */
const MOST_TOKENS = 2 * TEXT_BYTES;
const HIGHEST_TOKEN = 0xffff_ffff;

/** Only the first id that is wrong is named, because it would take seconds to name a million of them. */
const tokenIds = listOf(z.unknown(), MOST_TOKENS).superRefine((ids, context) => {
  const index = ids.findIndex(
    (id) => !(Number.isInteger(id) && (id as number) >= 0 && (id as number) <= HIGHEST_TOKEN),
  );
  if (index === -1) return;
  const message = `a whole number from 0 to ${HIGHEST_TOKEN}`;
  context.addIssue({ code: 'custom', path: [index], message, input: ids[index] });
}) as z.ZodType<number[]>;

/** The text behind token ids that a caller has given. */
export function decodeTokenIds(tokens: readonly number[], encoding: Encoding): string {
  return decode(validate(tokenIds, tokens, 'tokens'), validate(z.enum(ENCODINGS), encoding, 'encoding'));
}
