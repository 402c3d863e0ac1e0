import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { type ErrorCode, type FieldProblem, MnemoqError } from '../../shared/errors.ts';
import { isAlias } from '../../shared/records/conversation-id.ts';
import { snakeName } from '../wire/snake-case.ts';

export const PROBLEM_TYPE = 'application/problem+json';

/** The codes of refusals that come from the HTTP side, in addition to the codes that MemoryCore throws. */
type HttpCode =
  'unauthorized' | 'method_not_allowed' | 'too_large' | 'unsupported_media_type' | 'rate_limited' | 'internal';
export type ProblemCode = ErrorCode | HttpCode;

/**
 * The status of every code, and its title. redis_full is 503 and not 507: nothing is wrong with the request, and clients repeat
 * a request that was answered with 503 by themselves.
 */
const KINDS: Record<ProblemCode, readonly [status: number, title: string]> = {
  invalid_input: [400, 'The request is not valid'],
  unauthorized: [401, 'Who is asking is not known'],
  forbidden: [403, 'The caller may not do this'],
  not_found: [404, 'There is no such thing'],
  method_not_allowed: [405, 'The path has no such method'],
  erased: [409, 'The user or conversation was erased'],
  unverified: [422, 'The document is not what it claims to be'],
  too_large: [413, 'The request is too large'],
  unsupported_media_type: [415, 'The body is not JSON'],
  rate_limited: [429, 'Too many requests'],
  internal: [500, 'Something went wrong that nobody foresaw'],
  key_missing: [500, 'A key to open the data is missing'],
  plain_data_refused: [500, 'Stored data is not encrypted although it must be'],
  sealed_data_damaged: [500, 'Stored data is damaged'],
  invalid_configuration: [501, 'The server is not configured for this'],
  cid_mismatch: [502, 'The IPFS node computed another CID'],
  redis_unavailable: [503, 'Redis is not available'],
  redis_full: [503, 'Redis is nearly full'],
  supabase_unavailable: [503, 'Supabase is not available'],
  ipfs_unavailable: [503, 'The IPFS node is not available'],
  timeout: [504, 'It has not ended in time'],
};

export function statusOf(code: ProblemCode): number {
  return KINDS[code][0];
}

export function titleOf(code: ProblemCode): string {
  return KINDS[code][1];
}

/** The number of seconds after which a client may repeat a request that failed because of an outage. */
const RETRY_AFTER = '5';

const fieldProblem = z
  .strictObject({
    field: z.string().describe('Which field, by its name in the request; with its index in a list.'),
    expected: z.string().describe('What it should be.'),
    received: z.string().describe('What came: its type and size, never a text.'),
  })
  .meta({ id: 'FieldProblem', description: 'One wrong field.' });

/** A problem as RFC 9457 describes it, with a code on which a program can branch. */
export const problem = z
  .strictObject({
    type: z.string().describe('A URN that ends with the code.'),
    title: z.string().describe('What the code means, in words.'),
    status: z.int().describe('The HTTP status.'),
    detail: z.string().describe('What happened this time.'),
    code: z.enum(Object.keys(KINDS) as [ProblemCode, ...ProblemCode[]]).describe('What to branch on.'),
    problems: z.array(fieldProblem).describe('The wrong fields, the first 20; empty where none is to blame.'),
    request_id: z.string().describe('Stands in the log as well.'),
  })
  .meta({
    id: 'Problem',
    description: 'What went wrong, as RFC 9457 has it.',
    examples: [
      {
        type: 'urn:mnemoq:problem:invalid_input',
        title: 'The request is not valid',
        status: 400,
        detail: 'the body is not valid: user_id: expected a string, received nothing',
        code: 'invalid_input',
        problems: [{ field: 'user_id', expected: 'a string', received: 'nothing' }],
        request_id: '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a',
      },
    ],
  });
export type Problem = z.infer<typeof problem>;

/** The error for a request that is refused before MemoryCore is called. */
export class HttpRefusal extends Error {
  readonly code: HttpCode;
  constructor(code: HttpCode, message: string) {
    super(message);
    this.code = code;
  }
}

export function toProblem(error: unknown, requestId: string): Problem {
  const { code, detail, problems } = read(error);
  const [status, title] = [statusOf(code), titleOf(code)];
  return { type: `urn:mnemoq:problem:${code}`, title, status, detail, code, problems, request_id: requestId };
}

type Read = Pick<Problem, 'code' | 'detail' | 'problems'>;

function read(error: unknown): Read {
  if (error instanceof MnemoqError) {
    return { code: error.code, detail: error.message, problems: error.problems.map(inSnakeCase) };
  }
  if (error instanceof HttpRefusal) return { code: error.code, detail: error.message, problems: [] };
  const { statusCode = 500, code } = error as Partial<FastifyError>;
  if (statusCode === 413) return refusal('too_large', 'the body is larger than two of the longest texts');
  if (statusCode === 415) return refusal('unsupported_media_type', 'expected content-type: application/json');
  if (statusCode >= 500) return refusal('internal', 'the log has it under this request_id');
  // The message of a parser may quote the body, so it is not passed on.
  const field = code?.startsWith('FST_ERR_CTP') || error instanceof SyntaxError ? 'the body' : 'the path';
  const expected = field === 'the body' ? 'JSON, of the length it says' : 'a path that can be read';
  const received = 'something else';
  return { ...refusal('invalid_input', `${field}: expected ${expected}`), problems: [{ field, expected, received }] };
}

function refusal(code: ProblemCode, detail: string): Read {
  return { code, detail, problems: [] };
}

function inSnakeCase({ field, ...rest }: FieldProblem): FieldProblem {
  // The name of a field that does not exist, of a header, and another name of a conversation are repeated as the client wrote
  // them.
  const isAsWritten = rest.expected === 'no such field' || field.includes('-') || isAlias(field);
  return { field: isAsWritten ? field : snakeName(field), ...rest };
}

/** Answers with a problem. Errors on the side of the server are logged here, and only here. */
export async function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const answer = toProblem(error, request.id);
  if (answer.code === 'internal') request.log.error({ err: error }, 'an error nobody foresaw');
  else if (answer.status >= 500) request.log.warn({ code: answer.code, reason: answer.detail }, 'refused');
  if (answer.status === 503) reply.header('retry-after', RETRY_AFTER);
  await reply.code(answer.status).type(PROBLEM_TYPE).serializer(JSON.stringify).send(answer);
}

export async function sendNotFound(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  await sendProblem(new MnemoqError('not_found', 'no such path; /docs has them all'), request, reply);
}
