import { get_encoding } from '@dqbd/tiktoken';
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
];
export const KINDS_OF_TEXT = PIECES.length;

/** The n-th kind of text, told apart by a mark of its own. */
export function textOf(kind: number, mark: string): string {
  return `${PIECES[kind % KINDS_OF_TEXT]} ${mark}`;
}

/** What comes back of a text: lone surrogates are documented to become U+FFFD. */
export function kept(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\uFFFD');
}

/** How many tokens a text has, by the encoder itself. */
export function tokensOf(text: ModelText): number {
  return Object.values(text).reduce((sum: number, part: string) => sum + encoder.encode_ordinary(part).length, 0);
}
