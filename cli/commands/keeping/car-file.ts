import { open, rm } from 'node:fs/promises';
import { CarWriter } from '@ipld/car';
import type { ArchivePart } from '../../../producers/index.ts';
import { createPage } from '../../../shared/pinning/archive.ts';

/**
 * Writes an archive to a new file and gives its root. The root is known only at the end and is then put into the head of the file.
 * So a file that was not finished, because the machine went down for example, names a root that is not in it. After an error the
 * incomplete file is removed.
 */
export async function writeCar(
  file: string,
  parts: AsyncIterable<ArchivePart>,
  onPart: (part: ArchivePart) => void,
): Promise<string> {
  // It never overwrites a file, and nobody else may read it, because it may contain wrapped keys.
  const handle = await open(file, 'wx+', 0o600);
  let { cid: root } = await createPage([], null);
  const { writer, out } = CarWriter.create([root]);
  const written = handle.writeFile(out);
  written.catch(() => undefined); // the error, of a full disk for example, is reported where this promise is awaited
  try {
    for await (const part of parts) {
      for (const block of part.blocks) await Promise.race([writer.put(block), written]);
      root = part.root;
      onPart(part);
    }
    await Promise.race([writer.close(), written]);
    await written;
    await CarWriter.updateRootsInFile(handle, [root]);
    await handle.sync();
    return root.toString();
  } catch (error) {
    await rm(file);
    writer.close().catch(() => undefined); // the writer lets go of the file, so that it can be closed; it may be closed already
    throw error;
  } finally {
    await handle.close();
  }
}
