import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Caller, requireService } from './auth.ts';

/**
 * Who may use a route. `everybody` needs no key; such a route stands outside the guard. `users` are callers who see what is
 * theirs: a key bound to a user, or a user signed in to Supabase. Services may use whatever users may.
 */
export type Permission = 'everybody' | 'users' | 'services';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A route that does not name a permission is for services. */
    permission?: Permission;
  }
}

/** The options of a route that users may use. */
export const FOR_USERS = { config: { permission: 'users' } } as const;

/**
 * Makes each route that is added to `server` after this refuse the callers whom its own options do not permit. The address of a
 * request has no part in that decision: one path can be written in many ways, and only the router knows which route it is.
 */
export function permitByRoute(server: FastifyInstance, callerOf: (request: FastifyRequest) => Caller): void {
  server.addHook('onRoute', (route) => {
    const { permission = 'services' } = route.config ?? {};
    if (permission !== 'services') return;
    const permit = async (request: FastifyRequest) => requireService(callerOf(request));
    route.onRequest = [permit, ...[route.onRequest ?? []].flat()];
  });
}
