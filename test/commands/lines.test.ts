import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from '@jest/globals';
import { type Line, readLines } from '../../cli/terminal/lines.ts';

const MAX = 1_000;

async function* stream(chunks: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* chunks;
}

/** All lines of a text that arrives in chunks of `size` bytes. */
async function linesOf(text: string | Buffer, size = 65_536, maxBytes = MAX): Promise<Line[]> {
  const bytes = Buffer.from(text);
  const count = Math.ceil(bytes.length / size);
  const chunks = Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
  return Array.fromAsync(readLines(stream(chunks), maxBytes));
}

const textsOf = (lines: Line[]) => lines.map(({ text }) => text);

describe('lines', () => {
  test.each<[name: string, text: string, expected: (string | null)[]]>([
    ['an empty stream has none', '', []],
    ['a last line without a newline counts', 'a\nb', ['a', 'b']],
    ['a newline at the end begins no line', 'a\nb\n', ['a', 'b']],
    ['empty lines are lines', '\n\na\n\n', ['', '', 'a', '']],
    ['CRLF ends a line', 'a\r\nb\r\n\r\nc', ['a', 'b', '', 'c']],
    ['a lone CR does not', 'a\rb\r\rc\n', ['a\rb\r\rc']],
    ['a CR at the very end belongs to the line end', 'a\r', ['a']],
    ['other separators are text', 'a\u2028b\u0085c\vd\n', ['a\u2028b\u0085c\vd']],
    ['a byte order mark at the start is not text, later ones are', '\uFEFFa\n\uFEFFb', ['a', '\uFEFFb']],
    ['a line may be as long as allowed', `${'x'.repeat(MAX)}\nb`, ['x'.repeat(MAX), 'b']],
    ['a longer one is reported', `${'x'.repeat(MAX + 1)}\nb`, [null, 'b']],
    ['also when it is the last', `a\n${'x'.repeat(MAX + 1)}`, ['a', null]],
    ['the limit is in bytes', `${'字'.repeat(333)}\n${'字'.repeat(334)}`, ['字'.repeat(333), null]],
  ])('%s', async (_, text, expected) => {
    // However the stream is cut, down to single bytes, which cuts characters and CRLF as well.
    for (const size of [65_536, 7, 3, 2, 1]) {
      const lines = await linesOf(text, size);
      expect(textsOf(lines)).toEqual(expected);
      expect(lines.map(({ number }) => number)).toEqual(expected.map((_line, i) => i + 1));
    }
  });

  test('characters of several bytes survive every place a chunk may end', async () => {
    const text = 'é字👩‍👩‍👧\n{"a":"台東"}\r\n𠀀';
    for (let size = 1; size <= Buffer.byteLength(text); size++) {
      expect(textsOf(await linesOf(text, size))).toEqual(['é字👩‍👩‍👧', '{"a":"台東"}', '𠀀']);
    }
  });

  test('bytes that are no UTF-8 become U+FFFD and harm no other line', async () => {
    expect(textsOf(await linesOf(Buffer.from([0x61, 0xff, 0x0a, 0x62, 0x0a])))).toEqual(['a\uFFFD', 'b']);
  });

  test('empty chunks change nothing', async () => {
    const chunks = ['', 'a', '', '\n', '', 'b'].map((part) => Buffer.from(part));
    expect(textsOf(await Array.fromAsync(readLines(stream(chunks), MAX)))).toEqual(['a', 'b']);
  });

  test('a line comes out before the next chunk is asked for', async () => {
    let asked = 0;
    async function* counting(): AsyncGenerator<Buffer> {
      for (;;) {
        asked += 1;
        yield Buffer.from(`line ${asked}\n`);
      }
    }
    const lines = readLines(counting(), MAX);
    expect((await lines.next()).value).toEqual({ number: 1, text: 'line 1' });
    expect(asked).toBe(1);
    await lines.return(undefined);
  });

  test('a line that grows too long is not held in memory while it goes on', async () => {
    const chunks: WeakRef<ArrayBufferLike>[] = [];
    let alive = Number.NaN;
    async function* growing(): AsyncGenerator<Buffer> {
      for (let i = 0; i < 50; i++) {
        const chunk = Buffer.alloc(1024 * 1024, 'x');
        chunks.push(new WeakRef(chunk.buffer)); // what a slice of the chunk would hold too
        yield chunk;
      }
      await nextTurn(); // a WeakRef holds its target until the turn in which it was made is over
      collectGarbage();
      alive = chunks.filter((chunk) => chunk.deref() !== undefined).length;
      yield Buffer.from('\nafter');
    }
    expect(textsOf(await Array.fromAsync(readLines(growing(), MAX)))).toEqual([null, 'after']);
    expect(alive).toBeLessThanOrEqual(1); // the newest may still be in somebody's hands
  });
});

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
