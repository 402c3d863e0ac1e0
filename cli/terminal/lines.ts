/** One line of a text, numbered from 1. `text` is null when the line was longer than allowed and was not kept. */
export interface Line {
  number: number;
  text: string | null;
}

/**
 * Splits a stream of bytes into lines. It holds at most one line in memory, which has at most `maxBytes`. Bytes that are not UTF-8
 * become U+FFFD. A byte order mark at the start, which some editors write, is not part of the first line.
 */
export async function* readLines(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Line> {
  let number = 0;
  let held: Buffer[] = [];
  let size = 0;
  const take = (): Line => {
    const text = size > maxBytes ? null : Buffer.concat(held).toString().replace(/\r$/, '');
    held = [];
    size = 0;
    number += 1;
    return { number, text: number === 1 ? (text?.replace(/^\uFEFF/, '') ?? null) : text };
  };
  const hold = (part: Buffer) => {
    size += part.length;
    if (size <= maxBytes) held.push(part);
    else held = [];
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      hold(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    hold(chunk.subarray(start));
  }
  if (size > 0) yield take();
}
