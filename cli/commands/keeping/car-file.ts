import { open, rm } from 'node:fs/promises';
import { CarWriter } from '@ipld/car';
import type { ArchivePart } from '../../../producers/index.ts';
import { createPage } from '../../../shared/pinning/archive.ts';

/**
 * Writes an archive to a new file and gives its root, which is known last and put into the file's head then: a file that
 * was not finished, as when the machine went down, names a root that is not in it. Half an archive is not kept.
 */
export async function writeCar(
  file: string,
  parts: AsyncIterable<ArchivePart>,
  onPart: (part: ArchivePart) => void,
): Promise<string> {
  // Never over a file that is there, and for nobody else: it may hold wrapped keys.
  const handle = await open(file, 'wx+', 0o600);
  let { cid: root } = await createPage([], null);
  const { writer, out } = CarWriter.create([root]);
  const written = handle.writeFile(out);
  written.catch(() => undefined); // a full disk is told by whoever waits for it
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
    writer.close().catch(() => undefined); // lets go of the file, which can be closed then; it may be closed already
    throw error;
  } finally {
    await handle.close();
  }
}
