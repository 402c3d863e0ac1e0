import type { FastifySchemaCompiler } from 'fastify';
import { z } from 'zod';
import { validateSave } from '../../shared/records/conversation-id.ts';
import { validate } from '../../shared/validate.ts';
import { SAVE_BODIES } from '../wire/requests.ts';

const PARTS: Record<string, string> = { body: 'the body', querystring: 'the query', params: 'the path' };

/** Checks each part of a request with `validate`, so that a wrong field is named in the same words as everywhere else. */
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

/** Answers are not checked here. Their types hold their form, and the tests compare them with the OpenAPI document. */
export const compileSerializer = () => JSON.stringify;

/** A request without a body counts as one with an empty object, because a flush needs no fields. */
function orNothing(body: unknown): unknown {
  return body ?? {};
}

/** A query contains only texts. Those of fields that are numbers or booleans are converted before they are checked. */
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
