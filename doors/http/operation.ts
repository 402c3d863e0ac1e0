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
  /** Beside those that every operation behind the guard can give. */
  problems?: readonly ProblemCode[];
  /** Needs no key. */
  open?: true;
}

/** What any read can end with. */
export const READ_PROBLEMS: readonly ProblemCode[] = ['redis_unavailable', 'timeout'];
/** What any request with a body can end with. */
export const BODY_PROBLEMS: readonly ProblemCode[] = ['too_large', 'unsupported_media_type'];
export const APPLIED = { 'Preference-Applied': { description: 'What was heeded of Prefer.', type: 'string' } } as const;

const ALWAYS: readonly ProblemCode[] = ['invalid_input', 'internal'];
const GUARDED: readonly ProblemCode[] = ['unauthorized', 'forbidden', 'rate_limited', 'supabase_unavailable'];
const RETRY_AFTER: AnswerHeader = { description: 'Seconds after which to try again.', type: 'integer' };
/** Statuses after which the same request may work. */
const LATER = new Set([429, 503]);

/** An operation as Fastify checks it and as OpenAPI tells of it. */
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

/** One answer a status, which may have several codes. */
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
