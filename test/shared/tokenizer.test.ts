import { readFileSync } from 'node:fs';
import path from 'node:path';
import { get_encoding, Tiktoken } from '@dqbd/tiktoken';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { decode, encode, type Encoding, ENCODINGS } from '../../shared/records/tokenizer.ts';
import { decodeTokens, tokenize } from '../../shared/records/tokens.ts';

/** In one piece this would take the encoder most of a minute, more than a job's lock lasts. */
const LONG = 200_000;

const SAMPLE = readFileSync(path.join(import.meta.dirname, '../../cli/sample/turns.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as { userMessage: string; assistantMessage: string })
  .map(({ userMessage, assistantMessage }) => `${userMessage}\n${assistantMessage}`)
  .join('\n\n');

const MEGABYTE = 1024 * 1024;

/** Fills `bytes` of UTF-8 with as much of the text as fits. */
function filled(text: string, bytes: number): string {
  return text.repeat(Math.floor(bytes / Buffer.byteLength(text)));
}

const TEXTS: [name: string, text: string][] = [
  ['nothing', ''],
  ['one letter', 'a'],
  ['a special token', 'before <|endoftext|> after'],
  ['special tokens of all encodings', '<|endoftext|><|fim_prefix|><|fim_middle|><|fim_suffix|><|endofprompt|>'],
  ['emoji with joiners and skin tones', '👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇹🇼'],
  ['combining marks, composed and not', 'é e\u0301 ṩ s\u0323\u0307 Z͑ͫ̓ͪ̂ͫ̽'],
  ['a NUL', 'a\0b\0'],
  ['a byte order mark at the start', '\uFEFFtext'],
  ['byte order marks all over', 'a\uFEFF\uFEFFb\uFEFF'],
  ['CRLF and lone CR', 'one\r\ntwo\rthree\n\r\n\n'],
  ['right-to-left text', 'שלום עולם, مرحبا بالعالم \u202Eabc\u202C'],
  ['Chinese, Japanese, Korean and Latin mixed', '台東3天2夜 ひらがなカタカナ 한국어 mixed，標點。'],
  ['characters beyond the basic plane', '𠀀𠮷 𝕳𝖊𝖑𝖑𝖔 🀄'],
  ['the last code points', '\u{10FFFF}\uFFFE\uFFFF\u{1FFFF}'],
  ['control characters', Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).join('')],
  ['U+FFFD itself', 'a\uFFFDb'],
  ['spaces of all kinds', ' \t\u00A0\u2003\u3000\u200B\u2028\u2029 '],
  ['a megabyte of sample conversations', filled(SAMPLE, MEGABYTE)],
  ['a megabyte of Chinese without a space', filled('台東三天兩夜怎麼排', MEGABYTE)],
];

describe.each(ENCODINGS)('with %s', (encoding) => {
  test.each(TEXTS)('%s comes back as it was', (_, text) => {
    expect(decode(encode(text, encoding), encoding) === text).toBe(true); // toBe would print a megabyte
  });

  test('a turn and a single text come back as they were', () => {
    const turn = { user: '\uFEFF你好 <|endoftext|>', assistant: 'a\0b\r\n' };
    expect(decodeTokens(tokenize(turn, encoding) as never)).toEqual(turn);
    expect(decodeTokens(tokenize({ text: turn.user }, encoding) as never)).toEqual({ text: turn.user });
  });

  test.each([
    ['a', 'lone high surrogate \uD83D', 'lone high surrogate \uFFFD'],
    ['b', '\uDC69 low one first', '\uFFFD low one first'],
    ['c', 'swapped \uDC69\uD83D pair', 'swapped \uFFFD\uFFFD pair'],
    ['d', 'high before a pair \uD83D\uD83D\uDC69', 'high before a pair \uFFFD👩'],
  ])('lone surrogates become U+FFFD (%s)', (_, text, expected) => {
    expect(decode(encode(text, encoding), encoding)).toBe(expected);
  });

  test.each([[-1], [1.5], [Number.NaN], [Number.POSITIVE_INFINITY], [300_000], [0xffff_ffff], [2 ** 40]])(
    'the id %p, which is not one of its tokens, is refused',
    (id) => {
      const tokens = [...encode('good', encoding), id];
      expect(() => decode(tokens, encoding)).toThrow(
        expect.objectContaining({ code: 'invalid_input', problems: [expect.objectContaining({ field: 'tokens' })] }),
      );
    },
  );
});

describe.each(ENCODINGS)('with %s, cutting', (encoding) => {
  let uncut: Tiktoken;
  beforeAll(() => {
    uncut = get_encoding(encoding);
  });
  afterAll(() => uncut.free());

  test('leaves the tokens of ordinary text as they are', () => {
    expect(SAMPLE.length).toBeGreaterThan(15_000);
    expect(encode(SAMPLE, encoding)).toEqual([...uncut.encode_ordinary(SAMPLE)]);
  });

  // The same text from 90 beginnings, so that the places where it is cut fall on every letter of a sentence.
  test('leaves contractions, quotes and characters of two units whole wherever the cut falls', () => {
    const sentence = `I don't know what "we'll" see; they've said it's 𝕳𝖊𝖑𝖑𝖔, 𠮷野 and 'yours' — I'd SAY'S right. `;
    const text = sentence.repeat(20);
    for (let start = 0; start < 90; start++) {
      const part = text.slice(start).toWellFormed();
      expect(encode(part, encoding)).toEqual([...uncut.encode_ordinary(part)]);
    }
  });
});

// Where a text is cut does not depend on the encoding; how long a cut text takes does, see the megabytes above.
describe('cutting', () => {
  test.each([
    ['letters', 'a'],
    ['accented letters', 'e\u0301'],
    ['Chinese characters', '記憶'],
    ['digits', '7'],
    ['punctuation', '-'],
    ['spaces', ' '],
    ['newlines', '\n'],
    ['emoji', '👩\u200D'],
    ['a letter, then spaces', `a${' '.repeat(999)}`],
  ])('keeps a run of 200,000 units of %s from the encoder', (_, unit) => {
    const run = unit.repeat(LONG / unit.length);
    const { tokens, pieces } = piecesOf(run, 'cl100k_base');
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(2_000);
    // Cutting finely would be safe too, but costs tokens: pieces are as long as they may be, up to an odd one.
    expect(pieces.length).toBeLessThan(LONG / 400);
    expect(pieces.join('') === run).toBe(true);
    expect(decode(tokens, 'cl100k_base') === run).toBe(true);
  });

  test('never halves a surrogate pair, wherever the pairs begin', () => {
    for (const unit of ['👩', '𠀀', '👩 𠀀', '👩\u200D']) {
      for (let start = 0; start < 30; start++) {
        const text = 'x'.repeat(start) + unit.repeat(1_500);
        const { pieces } = piecesOf(text, 'cl100k_base');
        expect(pieces.length).toBeGreaterThan(1);
        expect(pieces.filter((piece) => !piece.isWellFormed())).toEqual([]);
        expect(pieces.join('') === text).toBe(true);
      }
    }
  });
});

/** Encodes and listens to what the real encoder is given. */
function piecesOf(text: string, encoding: Encoding): { tokens: number[]; pieces: string[] } {
  const listening = jest.spyOn(Tiktoken.prototype, 'encode_ordinary');
  try {
    return { tokens: encode(text, encoding), pieces: listening.mock.calls.map(([piece]) => piece) };
  } finally {
    listening.mockRestore();
  }
}
