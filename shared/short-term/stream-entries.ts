/** Compares the ids of two entries of a Redis stream, `<ms>-<n>`: negative when `a` is the older one, 0 when they are the same. */
export function compareEntries(a: string, b: string): number {
  const [aMs = 0, aSeq = 0] = a.split('-').map(Number);
  const [bMs = 0, bSeq = 0] = b.split('-').map(Number);
  return aMs - bMs || aSeq - bSeq;
}
