/** A name as HTTP has it: `contextId` is `context_id` there. */
type SnakeCase<S extends string> = S extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${SnakeCase<Tail>}`
  : S;

/** A value in which every field is named as HTTP has it, also the fields of what it contains. */
export type SnakeKeys<T> = T extends readonly (infer E)[]
  ? SnakeKeys<E>[]
  : T extends object
    ? { [K in keyof T as K extends string ? SnakeCase<K> : K]: SnakeKeys<T[K]> }
    : T;

export function snakeName(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function toSnake<T>(value: T): SnakeKeys<T> {
  return renamed(value) as SnakeKeys<T>;
}

function renamed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  // Token ids come by the hundred thousand and have no names in them.
  if (Array.isArray(value)) return typeof value[0] === 'object' ? value.map(renamed) : value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [snakeName(name), renamed(each)]));
}
