import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { MnemoqError } from '../../../shared/errors.ts';
import type { MemoryCore, Receipt, SaveOptions } from '../../../producers/index.ts';
import { receipt } from '../../wire/answers/records.ts';
import { callerOf } from '../../web/guard.ts';
import { APPLIED, BODY_PROBLEMS } from '../operation.ts';
import { type Route, route } from '../route.ts';
import { idempotencyKey, preferredWait } from '../../web/preferences.ts';
import { chatBody, finetuneBody, knowledgeBody, reflectionBody, saveHeaders } from '../../wire/requests.ts';

interface Save {
  at: `POST /${string}`;
  id: string;
  summary: string;
  body: z.ZodType<object>;
  /** The state of the record when a save that is waited for succeeds. */
  done: string;
  /** Saves what the body contains. MemoryCore checks it once more. */
  save: (input: never, options: SaveOptions) => Promise<Receipt>;
}

/** The fields that the bodies of all saves have. */
interface Given {
  id?: string;
  userId?: string;
  idempotencyKey?: string;
}

const PREFERENCE = 'Prefer: wait=5 waits up to so many seconds, 60 at most, until the record is';
const LOCATION = { Location: { description: 'Where its status is.', type: 'string' } } as const;

const WHERE = { ...APPLIED, ...LOCATION };

/**
 * `POST /memory/chat` and the other saves. The answer is 202 with the receipt when Redis has the record, and 200 when the client
 * waited and the worker has finished.
 */
export function saveRoutes(memory: MemoryCore): Route[] {
  return [
    saveRoute({
      at: 'POST /memory/chat',
      id: 'saveChat',
      summary: 'Save a turn',
      body: chatBody,
      done: 'cached, or committed when it is important',
      save: async (input, options) => memory.saveChat(input, options),
    }),
    saveRoute({
      at: 'POST /memory/reflection',
      id: 'saveReflection',
      summary: 'Save a reflection: commit it at once and pin it to IPFS',
      body: reflectionBody,
      done: 'pinned',
      save: async (input, options) => memory.saveReflection(input, options),
    }),
    saveRoute({
      at: 'POST /memory/finetune',
      id: 'saveFinetuneOutput',
      summary: 'Save what a training produced: commit it at once and pin it to IPFS',
      body: finetuneBody,
      done: 'pinned',
      save: async (input, options) => memory.saveFinetuneOutput(input, options),
    }),
    saveRoute({
      at: 'POST /memory/knowledge',
      id: 'saveKnowledge',
      summary: 'Save a knowledge item: commit it at once and pin it to IPFS, for everybody to read',
      body: knowledgeBody,
      done: 'pinned',
      save: async (input, options) => memory.saveKnowledge(input, options),
    }),
  ];
}

function saveRoute({ at, id, summary, body, done, save }: Save): Route {
  return route({
    at,
    permission: 'users',
    id,
    summary,
    tag: 'saving',
    description: `${PREFERENCE} ${done}. Idempotency-Key makes it safe to send again.`,
    parts: { body, headers: saveHeaders },
    answers: {
      200: { schema: receipt, description: `It is ${done}.`, headers: WHERE },
      202: { schema: receipt, description: 'Redis has it; a worker takes it on.', headers: WHERE },
    },
    problems: ['erased', ...BODY_PROBLEMS, 'redis_unavailable', 'redis_full'],
    call: async (asked, { request, reply }) => {
      const input = inputOf(asked.body, request, id);
      const wait = preferredWait(request, reply);
      const saved = await save(input as never, wait === null ? {} : { wait });
      request.log.info({ id: saved.id, note: saved.note }, 'saved');
      reply.header('location', `/memory/records/${saved.id}/status`);
      reply.code(saved.tokenCount === null ? 202 : 200); // the tokens are counted once the worker has finished
      return saved;
    },
  });
}

/** Gives what MemoryCore saves: the body, with the idempotency key, which may stand in a header instead. */
function inputOf(body: Given, request: FastifyRequest, operationId: string): Given {
  const { idempotencyKey: inBody, ...given } = body;
  if (callerOf(request).userId !== null && given.id !== undefined) {
    throw wrong('id', 'no such field for one user: Idempotency-Key makes a save safe to repeat', 'an id');
  }
  if (given.userId === undefined && operationId === 'saveChat') throw wrong('user_id', 'a string', 'nothing');
  const key = idempotencyKey(request, inBody);
  return { ...given, ...(key !== undefined && { idempotencyKey: key }) };
}

function wrong(field: string, expected: string, received: string): MnemoqError {
  const message = `the body is not valid: ${field}: expected ${expected}, received ${received}`;
  return new MnemoqError('invalid_input', message, { problems: [{ field, expected, received }] });
}
