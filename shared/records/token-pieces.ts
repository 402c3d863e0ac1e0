import { type Encoding, tokenBytes } from './tokenizer.ts';

/** The shortest run of tokens that ends where a character ends, and its text. Mostly it is one token, for a rare character several. */
export interface TokenPiece {
  ids: number[];
  text: string;
}

/** Cuts tokens into pieces whose texts, one after the other, are the decoded text. */
export function cutPieces(tokens: readonly number[], encoding: Encoding): TokenPiece[] {
  const pieces: TokenPiece[] = [];
  let ids: number[] = [];
  let parts: Uint8Array[] = [];
  let missing = 0;
  const end = () => {
    if (ids.length > 0) pieces.push({ ids, text: textOf(parts) });
    [ids, parts, missing] = [[], [], 0];
  };
  for (const id of tokens) {
    const bytes = tokenBytes(id, encoding);
    ids.push(id);
    parts.push(bytes);
    missing = missingAfter(bytes, missing);
    if (missing === 0) end();
  }
  end();
  return pieces;
}

function textOf(parts: readonly Uint8Array[]): string {
  // Without ignoreBOM a decoder would swallow a U+FEFF at the start.
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(parts));
}

/** How many bytes of UTF-8 the last character still lacks after these bytes, when it lacked `missing` before them. */
function missingAfter(bytes: Uint8Array, missing: number): number {
  for (const byte of bytes) {
    const continues = (byte & 0b1100_0000) === 0b1000_0000;
    missing = continues ? Math.max(0, missing - 1) : followers(byte);
  }
  return missing;
}

/** How many bytes of a character follow its first byte. */
function followers(byte: number): number {
  if (byte < 0b1100_0000) return 0;
  if (byte < 0b1110_0000) return 1;
  return byte < 0b1111_0000 ? 2 : 3;
}
