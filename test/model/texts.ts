import { get_encoding } from '@dqbd/tiktoken';
import { moment } from '../support/inputs/turns.ts';
import type { ModelText } from './model.ts';

const encoder = get_encoding('cl100k_base');

/** Texts that something on the way may lose a piece of. */
const PIECES = [
  '你好，台東三天兩夜怎麼排？',
  'before <|endoftext|> after',
  '\uFEFFa byte order mark',
  'a NUL \0 and CRLF \r\n',
  'half a pair \uD83D of two',
  '👩‍👩‍👧‍👦 𠀀 e\u0301',
  '{"json": "\\u0000"}',
  // Nothing to see, and nothing that a trim may take: a text must not be empty, but it may be this.
  ' \n\t\u00A0\u200B\u3000',
  // Right to left, with a mark that turns what follows around.
  'שלום \u202Egnihtyna\u202C مرحبا',
  // Noncharacters, private use, the last code point, and marks on marks.
  `\uFFFE\uFFFF\uE000\u{10FFFF} a${'\u0301\u0489'.repeat(40)}`,
  // Some thousand tokens: more than a page of many records holds.
  'every word of a long one is a token '.repeat(500),
];
export const KINDS_OF_TEXT = PIECES.length;

/** The n-th kind of text, told apart by a mark of its own. */
export function textOf(kind: number, mark: string): string {
  return `${PIECES[kind % KINDS_OF_TEXT]} ${mark}`;
}

/** When something was said: as a producer writes it, and as it is kept and given back. */
export interface When {
  given: string;
  kept: string;
}

/** Fewer than there are records, so that many share a moment and stand in the order of their ids. */
const MOMENTS = [
  ...[0, 1, 2, 3].map((n) => moment(n)),
  // Microseconds are kept. The text of such a moment is longer, and not to be compared with the others as it is.
  ...[1, 2].flatMap((n) => ['001', '999'].map((micros) => moment(n).replace('Z', `${micros}Z`))),
  // A clock that is ahead, and the last moment there is.
  '2199-01-01T00:00:00.000Z',
  '9998-12-31T23:59:59.999999Z',
];
const WRITTEN: ((kept: string) => string)[] = [
  (kept) => kept,
  // The same moment in another zone: an hour earlier on a clock that is an hour behind.
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

/** What comes back of a text: lone surrogates are documented to become U+FFFD. */
export function kept(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\uFFFD');
}

/** How many tokens a text has, by the encoder itself. */
export function tokensOf(text: ModelText): number {
  return Object.values(text).reduce((sum: number, part: string) => sum + encoder.encode_ordinary(part).length, 0);
}
