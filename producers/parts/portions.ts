/** Cuts a list into portions of at most `size` items, in its order. It bounds what is asked for, or held in memory, at once. */
export function* portionsOf<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size);
}
