import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { MnemoqError } from '../../../shared/errors.ts';
import { userFor } from '../../web/auth.ts';
import type { MemoryCore, Receipt, SaveOptions } from '../../../producers/index.ts';
import { receipt } from '../../wire/answers.ts';
import { callerOf } from '../../web/guard.ts';
import { FOR_USERS } from '../../web/permission.ts';
import { operation } from '../operation.ts';
import { idempotencyKey, preferredWait } from '../../web/preferences.ts';
import { chatBody, finetuneBody, knowledgeBody, reflectionBody, saveHeaders } from '../../wire/requests.ts';
import { toCamel, toSnake } from '../../wire/snake-case.ts';

interface Save {
  path: string;
  id: string;
  summary: string;
  body: z.ZodType;
  /** What a save that is waited for has reached. */
  done: string;
  /** Takes what the body says, which MemoryCore checks once more. */
  save: (input: never, options: SaveOptions) => Promise<Receipt>;
}

/** What every body has, whatever else is in it. */
interface Given {
  id?: string;
  userId?: string;
  idempotencyKey?: string;
}

const PREFERENCE = 'Prefer: wait=5 waits up to so many seconds, 60 at most, until the record is';
const APPLIED = {
  'Preference-Applied': { description: 'What was heeded of Prefer.', type: 'string' },
} as const;
const LOCATION = { Location: { description: 'Where its status is.', type: 'string' } } as const;

/** `POST /memory/chat` and the like: 202 with the receipt when Redis has it; 200 when it was waited for and is through. */
export function addSaveRoutes(server: FastifyInstance, memory: MemoryCore): void {
  const saves: Save[] = [
    {
      path: '/memory/chat',
      id: 'saveChat',
      summary: 'Save a turn',
      body: chatBody,
      done: 'cached, or committed when it is important',
      save: async (input, options) => memory.saveChat(input, options),
    },
    {
      path: '/memory/reflection',
      id: 'saveReflection',
      summary: 'Save a reflection: commit it at once and pin it to IPFS',
      body: reflectionBody,
      done: 'pinned',
      save: async (input, options) => memory.saveReflection(input, options),
    },
    {
      path: '/memory/finetune',
      id: 'saveFinetuneOutput',
      summary: 'Save what a training produced: commit it at once and pin it to IPFS',
      body: finetuneBody,
      done: 'pinned',
      save: async (input, options) => memory.saveFinetuneOutput(input, options),
    },
    {
      path: '/memory/knowledge',
      id: 'saveKnowledge',
      summary: 'Save a knowledge item: commit it at once and pin it to IPFS, for everybody to read',
      body: knowledgeBody,
      done: 'pinned',
      save: async (input, options) => memory.saveKnowledge(input, options),
    },
  ];
  for (const each of saves) addSave(server, each);
}

function addSave(server: FastifyInstance, { path, id, summary, body, done, save }: Save): void {
  const schema = operation({
    id,
    summary,
    tag: 'saving',
    description: `${PREFERENCE} ${done}. Idempotency-Key makes it safe to send again.`,
    parts: { body, headers: saveHeaders },
    answers: {
      200: { schema: receipt, description: `It is ${done}.`, headers: { ...APPLIED, ...LOCATION } },
      202: {
        schema: receipt,
        description: 'Redis has it; a worker takes it on.',
        headers: { ...APPLIED, ...LOCATION },
      },
    },
    problems: ['erased', 'too_large', 'unsupported_media_type', 'redis_unavailable', 'redis_full'],
  });
  server.post(path, { ...FOR_USERS, schema }, async (request, reply) => {
    const input = inputOf(request, id);
    const wait = preferredWait(request, reply);
    const saved = await save(input as never, wait === null ? {} : { wait });
    request.log.info({ id: saved.id, note: saved.note }, 'saved');
    reply.header('location', `/memory/records/${saved.id}/status`);
    // Its tokens are counted when the worker is through.
    return reply.code(saved.tokenCount === null ? 202 : 200).send(toSnake(saved));
  });
}

/** What MemoryCore is to save: the body, with the key of the header and the user of the caller. */
function inputOf(request: FastifyRequest, operationId: string): Given {
  const { userId: named, idempotencyKey: inBody, ...given } = toCamel(request.body as object) as Given;
  const caller = callerOf(request);
  const userId = userFor(caller, named);
  if (caller.userId !== null && given.id !== undefined) {
    throw wrong('id', 'no such field for one user: Idempotency-Key makes a save safe to repeat', 'an id');
  }
  if (userId === undefined && operationId === 'saveChat') throw wrong('user_id', 'a string', 'nothing');
  const key = idempotencyKey(request, inBody);
  return { ...given, ...(userId !== undefined && { userId }), ...(key !== undefined && { idempotencyKey: key }) };
}

function wrong(field: string, expected: string, received: string): MnemoqError {
  const message = `the body is not valid: ${field}: expected ${expected}, received ${received}`;
  return new MnemoqError('invalid_input', message, { problems: [{ field, expected, received }] });
}
