import { z } from 'zod';
import { type SnakeKeys, snakeName } from '../../shared/snake-case.ts';

export { snakeName, toSnake } from '../../shared/snake-case.ts';

type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

/** The same type with the names of MemoryCore. Only its own fields are renamed, not those inside them. */
export type CamelKeys<T> = { [K in keyof T as K extends string ? CamelCase<K> : K]: T[K] };

/** The description of a field: a text, or an object with more of JSON Schema. */
export type Words = string | (Record<string, unknown> & { description: string });

export function toCamel<T extends object>(value: T): CamelKeys<T> {
  const camelName = (name: string) => name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [camelName(name), each])) as CamelKeys<T>;
}

/**
 * Makes from a schema of MemoryCore the schema for HTTP: the same checks under the names of HTTP, with a description of each
 * field. Whoever adds a field to MemoryCore has to describe it here, or the types do not fit.
 */
export function snakeCase<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  words: { [K in keyof Shape]: Words },
): z.ZodType<SnakeKeys<z.output<z.ZodObject<Shape>>>, SnakeKeys<z.input<z.ZodObject<Shape>>>> {
  const described = Object.entries(schema.shape as unknown as Record<string, z.ZodType>).map(([name, field]) => {
    const said = words[name] as Words;
    return [snakeName(name), withMeta(inSnakeCase(field), typeof said === 'string' ? { description: said } : said)];
  });
  return z.strictObject(Object.fromEntries(described)) as never;
}

/** Does the same for a schema that contains its descriptions already, as those of answers do. */
export function snakeAnswer<T>(schema: z.ZodType<T>): z.ZodType<SnakeKeys<T>> {
  return inSnakeCase(schema) as z.ZodType<SnakeKeys<T>>;
}

function inSnakeCase(schema: z.ZodType): z.ZodType {
  const about = schema.meta();
  const named = withNames(schema);
  return about && named !== schema ? withMeta(named, about) : named;
}

function withNames(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodObject) {
    const fields: [string, z.ZodType][] = Object.entries(schema.shape);
    return z.strictObject(Object.fromEntries(fields.map(([name, field]) => [snakeName(name), inSnakeCase(field)])));
  }
  if (schema instanceof z.ZodArray) return z.array(inSnakeCase(schema.element as z.ZodType));
  if (schema instanceof z.ZodNullable) return inSnakeCase(schema.unwrap() as z.ZodType).nullable();
  if (schema instanceof z.ZodOptional) return inSnakeCase(schema.unwrap() as z.ZodType).optional();
  if (schema instanceof z.ZodUnion) return z.union((schema.options as z.ZodType[]).map(inSnakeCase));
  return schema;
}

function withMeta(schema: z.ZodType, about: Record<string, unknown>): z.ZodType {
  return schema.meta({ ...schema.meta(), ...about });
}
