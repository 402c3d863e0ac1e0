import { get_encoding, type Tiktoken } from '@dqbd/tiktoken';
import { MnemoqError } from '../errors.ts';
import { describe } from '../validate.ts';

/** The encodings that @dqbd/tiktoken ships. */
export const ENCODINGS = ['cl100k_base', 'o200k_base', 'p50k_base', 'p50k_edit', 'r50k_base', 'gpt2'] as const;
export type Encoding = (typeof ENCODINGS)[number];

/**
 * The longest piece that is handed to the encoder at once, in UTF-16 units. Byte-pair merging is quadratic in the length of a
 * run without a break: 50,000 × "a" in one piece takes over two seconds, in pieces of 500 well under 100 ms. This length is
 * long enough that ordinary text is cut only between words, where the tokens come out the same as uncut.
 */
const PIECE_LENGTH = 500;

/**
 * Where a piece may end without changing a token: after a letter and before something that is not a letter. An apostrophe does
 * not count, because o200k_base has tokens such as " don't". Half a code point, with which a slice may end, does not count
 * either.
 */
const WORD_END = /\p{L}(?=[^\p{L}\p{M}\p{N}\p{Cs}'])/gu;

/**
 * How many ids `encode` chooses from, beginning with 0. The encoder panics on an id that it does not have, and after some
 * thousand panics its WASM memory is broken for the rest of the process. So `decode` never gives it such an id.
 */
const VOCABULARY: Record<Encoding, number> = {
  cl100k_base: 100_256,
  o200k_base: 199_998,
  p50k_base: 50_281,
  p50k_edit: 50_281,
  r50k_base: 50_256,
  gpt2: 50_256,
};

const encoders = new Map<Encoding, Tiktoken>(); // one for a process and an encoding, because each costs about 22 MB of WASM memory

function encoderOf(encoding: Encoding): Tiktoken {
  let encoder = encoders.get(encoding);
  if (!encoder) {
    encoder = get_encoding(encoding);
    encoders.set(encoding, encoder);
  }
  return encoder;
}

/**
 * Turns text into token ids. Special tokens such as `<|endoftext|>` are read as plain text. Lone surrogates, which UTF-8
 * cannot carry, become U+FFFD. Everything else comes back from `decode` exactly.
 */
export function encode(text: string, encoding: Encoding): number[] {
  const encoder = encoderOf(encoding);
  const tokens: number[] = [];
  for (const piece of pieces(text.toWellFormed())) {
    for (const token of encoder.encode_ordinary(piece)) tokens.push(token);
  }
  return tokens;
}

/** Turns token ids back into the text they came from. Throws `invalid_input` for an id that `encode` never gives. */
export function decode(tokens: readonly number[], encoding: Encoding): string {
  refuseUnknown(tokens, encoding);
  // Without ignoreBOM a decoder would swallow a U+FEFF at the start of the text.
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(encoderOf(encoding).decode(Uint32Array.from(tokens)));
}

/** The bytes that one token stands for, which need not be whole characters. Throws `invalid_input` as `decode` does. */
export function tokenBytes(id: number, encoding: Encoding): Uint8Array {
  refuseUnknown([id], encoding);
  return encoderOf(encoding).decode_single_token_bytes(id);
}

/** Every id with its bytes. This takes about half a second, so it should be done once in a process. */
export function* vocabulary(encoding: Encoding): Generator<[id: number, bytes: Uint8Array]> {
  const encoder = encoderOf(encoding);
  for (let id = 0; id < VOCABULARY[encoding]; id++) yield [id, encoder.decode_single_token_bytes(id)];
}

function refuseUnknown(tokens: readonly number[], encoding: Encoding): void {
  const unknown = tokens.find((id) => !isToken(id, encoding));
  if (unknown === undefined) return;
  const expected = `ids of ${encoding}, below ${VOCABULARY[encoding]}`;
  const problem = { field: 'tokens', expected, received: describe(unknown) };
  const message = `tokens: expected ${problem.expected}, received ${problem.received}`;
  throw new MnemoqError('invalid_input', message, { problems: [problem] });
}

/** Whether `encode` may give this id. */
export function isToken(id: unknown, encoding: Encoding): boolean {
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) < VOCABULARY[encoding];
}

function* pieces(text: string): Generator<string> {
  let start = 0;
  while (text.length - start > PIECE_LENGTH) {
    const end = start + cut(text.slice(start, start + PIECE_LENGTH));
    yield text.slice(start, end);
    start = end;
  }
  yield text.slice(start);
}

/** How much of a piece of full length to take: up to its last end of a word or, without one, all but half a code point. */
function cut(piece: string): number {
  let end = 0;
  for (const match of piece.matchAll(WORD_END)) end = match.index + match[0].length;
  if (end > 0) return end;
  const splitsPair = /[\uD800-\uDBFF]$/.test(piece);
  return splitsPair ? piece.length - 1 : piece.length;
}
