import type { FastifySchema } from 'fastify';
import type { z } from 'zod';
import { problem, PROBLEM_TYPE, type ProblemCode, statusOf, titleOf } from '../web/problem.ts';

interface AnswerHeader {
  description: string;
  type: 'string' | 'integer';
}

interface Answer {
  schema: z.ZodType;
  description: string;
  type?: string;
  headers?: Record<string, AnswerHeader>;
}

export interface Operation<Parts> {
  id: string;
  summary: string;
  description?: string;
  tag: string;
  parts: Parts;
  answers: Record<number, Answer>;
  /** The problems that the operation can end with, besides those of every operation behind the guard. */
  problems?: readonly ProblemCode[];
  /** The operation needs no key. */
  open?: true;
}

/** The problems that any read can end with. */
export const READ_PROBLEMS: readonly ProblemCode[] = ['redis_unavailable', 'timeout'];
/** The problems that any request with a body can end with. */
export const BODY_PROBLEMS: readonly ProblemCode[] = ['too_large', 'unsupported_media_type'];
export const APPLIED = { 'Preference-Applied': { description: 'What was heeded of Prefer.', type: 'string' } } as const;

const ALWAYS: readonly ProblemCode[] = ['invalid_input', 'internal'];
const GUARDED: readonly ProblemCode[] = ['unauthorized', 'forbidden', 'rate_limited', 'supabase_unavailable'];
const RETRY_AFTER: AnswerHeader = { description: 'Seconds after which to try again.', type: 'integer' };
/** The statuses after which the same request may succeed later. */
const LATER = new Set([429, 503]);

/** Makes the schema of an operation, with which Fastify checks requests and from which the OpenAPI document is made. */
export function operation<Parts extends Pick<FastifySchema, 'body' | 'querystring' | 'params' | 'headers'>>({
  id,
  summary,
  description,
  tag,
  parts,
  answers,
  problems = [],
  open,
}: Operation<Parts>) {
  const codes = [...ALWAYS, ...(open ? [] : GUARDED), ...problems];
  return {
    ...parts,
    operationId: id,
    summary,
    ...(description !== undefined && { description }),
    tags: [tag],
    ...(open && { security: [] }),
    response: { ...Object.fromEntries(Object.entries(answers).map(answerOf)), ...problemsOf(codes) },
  };
}

function answerOf([status, { schema, description, type = 'application/json', headers }]: [string, Answer]) {
  return [status, { description, ...(headers && { headers }), content: { [type]: { schema } } }] as const;
}

/** OpenAPI has one answer for each status, and several codes may have the same status. */
function problemsOf(codes: readonly ProblemCode[]) {
  const byStatus = Map.groupBy(new Set(codes), statusOf);
  return Object.fromEntries(
    [...byStatus].map(([status, those]) => [
      status,
      {
        description: those.map((code) => `${titleOf(code)} (\`${code}\`).`).join(' '),
        ...(LATER.has(status) && { headers: { 'Retry-After': RETRY_AFTER } }),
        content: { [PROBLEM_TYPE]: { schema: problem } },
      },
    ]),
  );
}
