import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { userFor } from '../../web/auth.ts';
import type { MemoryCore } from '../../../producers/index.ts';
import { erasureReceipt } from '../../wire/answers.ts';
import { callerOf } from '../../web/guard.ts';
import { FOR_USERS } from '../../web/permission.ts';
import { operation } from '../operation.ts';
import { contextPath, scopeQuery, userPath } from '../../wire/requests.ts';
import { scoped } from './read-routes.ts';
import { toSnake } from '../../wire/snake-case.ts';

const ERASES = 'From queues, Redis, Supabase and IPFS, at once and for ever; safe to send again.';
const ANSWERS = { 200: { schema: erasureReceipt, description: 'It is erased; what was, tier by tier.' } };
const PROBLEMS = ['redis_unavailable', 'ipfs_unavailable', 'invalid_configuration', 'timeout'] as const;

/** `DELETE /memory/users/…` and `DELETE /memory/context/…`. One user erases what is his and nobody else's. */
export function addEraseRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.delete(
    '/memory/users/:user_id',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'forgetUser',
        summary: 'Erase a user from every tier',
        description: `${ERASES} Saves for the user are refused from then on, until an operator lifts the erasure.`,
        tag: 'erasing',
        parts: { params: userPath },
        answers: ANSWERS,
        problems: PROBLEMS,
      }),
    },
    async (request) => {
      const userId = userFor(callerOf(request), request.params.user_id) ?? request.params.user_id;
      return toSnake(await memory.forget({ userId }));
    },
  );
  server.delete(
    '/memory/context/:context_id',
    {
      ...FOR_USERS,
      schema: operation({
        id: 'forgetContext',
        summary: 'Erase a conversation from every tier',
        description:
          `${ERASES} With a user only his records in it. Erased as a whole, saves for it are refused from then on, until an ` +
          'operator lifts the erasure.',
        tag: 'erasing',
        parts: { params: contextPath, querystring: scopeQuery },
        answers: ANSWERS,
        problems: PROBLEMS,
      }),
    },
    async (request) => {
      const contextId = request.params.context_id;
      return toSnake(await memory.forget({ contextId, ...scoped(request, request.query) }));
    },
  );
}
