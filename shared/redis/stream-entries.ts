/** An entry of a Redis stream as ioredis gives it: its id, `<ms>-<n>`, and its fields and their values in turn. */
export type StreamEntry = [entry: string, fields: string[]];

/** The fields of an entry by their names. */
export function fieldsOf([, fields]: StreamEntry): Record<string, string | undefined> {
  const pairs = Array.from({ length: fields.length / 2 }, (_, i) => [fields[2 * i], fields[2 * i + 1]]);
  return Object.fromEntries(pairs);
}

/** When an entry was added, by the clock of Redis, in ms of the epoch: its id begins with that. */
export function addedAt(entry: string): number {
  return Number.parseInt(entry, 10);
}

/** Below 0 where the first id comes before the second one, 0 where they are the same. */
export function compareEntries(a: string, b: string): number {
  const [aMs = 0, aSeq = 0] = a.split('-').map(Number);
  const [bMs = 0, bSeq = 0] = b.split('-').map(Number);
  return aMs - bMs || aSeq - bSeq;
}
