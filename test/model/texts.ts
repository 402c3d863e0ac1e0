import { get_encoding } from '@dqbd/tiktoken';
import { moment } from '../support/inputs/turns.ts';
import type { ModelText } from './model.ts';

const encoder = get_encoding('cl100k_base');

/** Texts of which something on the way may lose a piece. */
const PIECES = [
  '你好，台東三天兩夜怎麼排？',
  'before <|endoftext|> after',
  '\uFEFFa byte order mark',
  'a NUL \0 and CRLF \r\n',
  'half a pair \uD83D of two',
  '👩‍👩‍👧‍👦 𠀀 e\u0301',
  '{"json": "\\u0000"}',
  // This shows nothing. A text must not be empty, but it may be this, and nothing may trim it.
  ' \n\t\u00A0\u200B\u3000',
  // This runs from right to left, with a mark that reverses what follows.
  'שלום \u202Egnihtyna\u202C مرحبا',
  // These are noncharacters, private use, the last code point, and marks upon marks.
  `\uFFFE\uFFFF\uE000\u{10FFFF} a${'\u0301\u0489'.repeat(40)}`,
  // This has some thousand tokens, more than a budget for many records allows.
  'every word of a long one is a token '.repeat(500),
];
export const KINDS_OF_TEXT = PIECES.length;

/** Makes a text of the n-th kind. The mark tells it from others of its kind. */
export function textOf(kind: number, mark: string): string {
  return `${PIECES[kind % KINDS_OF_TEXT]} ${mark}`;
}

/** The time at which something was said, as a producer writes it, and as it is kept and returned. */
export interface When {
  given: string;
  kept: string;
}

/** There are fewer moments than records, so that many records share one and stand in the order of their ids. */
const MOMENTS = [
  ...[0, 1, 2, 3].map((n) => moment(n)),
  // Microseconds are kept. The text of such a moment is longer, so it cannot be compared with the others as text.
  ...[1, 2].flatMap((n) => ['001', '999'].map((micros) => moment(n).replace('Z', `${micros}Z`))),
  // The first is of a clock that is ahead, the second is the last moment there is.
  '2199-01-01T00:00:00.000Z',
  '9998-12-31T23:59:59.999999Z',
];
const WRITTEN: ((kept: string) => string)[] = [
  (kept) => kept,
  // This is the same moment, written in another time zone.
  (kept) =>
    kept
      .replace('T00:', 'T01:')
      .replace('T23:', 'T22:')
      .replace('Z', kept.includes('T23:') ? '-01:00' : '+01:00'),
];
export const KINDS_OF_TIME = MOMENTS.length * WRITTEN.length;

export function whenOf(kind: number): When {
  const kept = MOMENTS[kind % MOMENTS.length] ?? '';
  const write = WRITTEN[Math.floor(kind / MOMENTS.length) % WRITTEN.length];
  return { given: write?.(kept) ?? kept, kept };
}

/** Returns what is kept of a text. Lone surrogates become U+FFFD, which is documented. */
export function kept(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\uFFFD');
}

/** Counts the tokens of a text with the encoder itself. */
export function tokensOf(text: ModelText): number {
  return Object.values(text).reduce((sum: number, part: string) => sum + encoder.encode_ordinary(part).length, 0);
}
