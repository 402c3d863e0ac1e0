import { MemoryCore } from '../../producers/index.ts';

/** Runs a command's work with a connected MemoryCore and lets go of it whatever happens. */
export async function withMemory<T>(work: (memory: MemoryCore) => Promise<T>): Promise<T> {
  const memory = new MemoryCore();
  try {
    return await work(memory);
  } finally {
    await memory.close();
  }
}
