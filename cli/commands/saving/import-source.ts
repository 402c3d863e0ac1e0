import { constants, createReadStream, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { addAbortSignal, pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';

/** The stream from which the bytes come. */
type Source = Readable & { bytesRead: number };

export async function open(file: string, signal: AbortSignal): Promise<{ source: Source; size: number }> {
  if (file === '-') return { source: addAbortSignal(signal, process.stdin as unknown as Source), size: 0 };
  const about = await stat(file);
  if (about.isDirectory()) throw new Error('it is a folder');
  if (about.isFIFO()) return { source: openPipe(file, signal), size: 0 };
  return { source: createReadStream(file, { signal }), size: about.size };
}

/**
 * Opens a pipe without waiting for a writer. Otherwise a thread of Node would wait for one, and the process could not even exit.
 */
function openPipe(file: string, signal: AbortSignal): Source {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  return addAbortSignal(signal, new Socket({ fd, readable: true, writable: false }));
}

/** Decompresses gzip, which is known by its first two bytes (RFC 1952), whatever the name of the file is. */
export async function decompress(source: AsyncIterable<Buffer>): Promise<AsyncIterable<Buffer>> {
  const chunks = source[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  while (start.length < 2) {
    const { done, value } = await chunks.next();
    if (done) break;
    start = Buffer.concat([start, value]);
  }
  const all = async function* () {
    yield start;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  };
  if (start[0] !== 0x1f || start[1] !== 0x8b) return all();
  return pipeline(Readable.from(all()), createGunzip(), () => undefined); // the reader of the stream gets its error
}
