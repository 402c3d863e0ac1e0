import type { FastifySchemaCompiler } from 'fastify';
import { z } from 'zod';
import { validateSave } from '../../shared/records/conversation-id.ts';
import { validate } from '../../shared/validate.ts';
import { SAVE_BODIES } from '../wire/requests.ts';

const PARTS: Record<string, string> = { body: 'the body', querystring: 'the query', params: 'the path' };

/** Checks each part of a request as everything else is checked, so that a wrong field is told in the same words. */
export const compileValidator: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart = '' }) => {
  const what = PARTS[httpPart] ?? 'the request';
  const readable =
    httpPart === 'body' ? orNothing : httpPart === 'querystring' ? typed(schema) : (part: unknown) => part;
  return (part: unknown) => {
    try {
      const given = readable(part);
      const isSave = httpPart === 'body' && SAVE_BODIES.has(schema);
      return { value: isSave ? validateSave(schema, given, what, 'context_id') : validate(schema, given, what) };
    } catch (error) {
      return { error: error as Error };
    }
  };
};

/** What an answer looks like is held by its types and, in the tests, by the OpenAPI document. */
export const compileSerializer = () => JSON.stringify;

/** No body is one without fields: a flush needs none. */
function orNothing(body: unknown): unknown {
  return body ?? {};
}

/** A query has only texts; those of a number or a yes or no are read as such where that is asked for. */
function typed(schema: z.ZodType): (query: unknown) => unknown {
  const shape = schema instanceof z.ZodObject ? (schema.shape as Record<string, z.ZodType>) : {};
  const readers = new Map(Object.entries(shape).map(([name, field]) => [name, readerOf(field)]));
  return (query) => {
    const entries = Object.entries(query as Record<string, unknown>);
    return Object.fromEntries(entries.map(([name, value]) => [name, readers.get(name)?.(value) ?? value]));
  };
}

function readerOf(field: z.ZodType): (value: unknown) => unknown {
  const inner = field instanceof z.ZodOptional ? field.unwrap() : field;
  if (inner instanceof z.ZodNumber) {
    return (value) => (typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value);
  }
  if (inner instanceof z.ZodBoolean) return (value) => (value === 'true' ? true : value === 'false' ? false : value);
  return (value) => value;
}
