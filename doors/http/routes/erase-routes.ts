import type { MemoryCore } from '../../../producers/index.ts';
import { userFor } from '../../web/auth.ts';
import { callerOf } from '../../web/guard.ts';
import type { ProblemCode } from '../../web/problem.ts';
import { erasureReceipt } from '../../wire/answers/operating.ts';
import { contextPath, scopeQuery, userPath } from '../../wire/requests.ts';
import { type Route, route } from '../route.ts';

const ERASES = 'From queues, Redis, Supabase and IPFS, at once and for ever; safe to send again.';
const ANSWERS = { 200: { schema: erasureReceipt, description: 'It is erased; what was, tier by tier.' } };
const PROBLEMS: readonly ProblemCode[] = ['redis_unavailable', 'ipfs_unavailable', 'invalid_configuration', 'timeout'];

/** `DELETE /memory/users/…` and `DELETE /memory/context/…`. A user erases what is theirs and nobody else's. */
export function eraseRoutes(memory: MemoryCore): Route[] {
  return [
    route({
      at: 'DELETE /memory/users/:user_id',
      permission: 'users',
      id: 'forgetUser',
      summary: 'Erase a user from every tier',
      description: `${ERASES} Saves for the user are refused from then on, until an operator lifts the erasure.`,
      tag: 'erasing',
      parts: { params: userPath },
      answers: ANSWERS,
      problems: PROBLEMS,
      call: async ({ params }, { request }) =>
        memory.forget({ userId: userFor(callerOf(request), params.userId) ?? params.userId }),
    }),
    route({
      at: 'DELETE /memory/context/:context_id',
      permission: 'users',
      id: 'forgetContext',
      summary: 'Erase a conversation from every tier',
      description:
        `${ERASES} With a user only his records in it. Erased as a whole, saves for it are refused from then on, until an ` +
        'operator lifts the erasure.',
      tag: 'erasing',
      parts: { params: contextPath, querystring: scopeQuery },
      answers: ANSWERS,
      problems: PROBLEMS,
      call: async ({ params, query }) => memory.forget({ contextId: params.contextId, ...query }),
    }),
  ];
}
