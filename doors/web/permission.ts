import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Caller, requireService } from './auth.ts';

/**
 * Who may use a route. `everybody` needs no key; such a route stands outside the guard. `users` are callers who see what is
 * theirs: a key bound to a user, or a user signed in to Supabase. Services may use whatever users may.
 */
export type Permission = 'everybody' | 'users' | 'services';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Without it the route is for services. */
    permission?: Permission;
  }
}

/** What a route says in its options when users may use it. */
export const FOR_USERS = { config: { permission: 'users' } } as const;

/**
 * Makes each route that is added to `server` after this refuse the callers it is not for, by what its own options say. The
 * address of a request has no part in it: one path can be written in many ways, and only the router knows which route it is.
 */
export function permitByRoute(server: FastifyInstance, callerOf: (request: FastifyRequest) => Caller): void {
  server.addHook('onRoute', (route) => {
    const { permission = 'services' } = route.config ?? {};
    if (permission !== 'services') return;
    const permit = async (request: FastifyRequest) => requireService(callerOf(request));
    route.onRequest = [permit, ...[route.onRequest ?? []].flat()];
  });
}
