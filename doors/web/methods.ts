import type { FastifyInstance } from 'fastify';
import { FOR_USERS } from './permission.ts';
import { HttpRefusal } from './problem.ts';

const METHODS = ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT'];

/**
 * Fastify answers a method a path does not have like a path that is not there. Watches what is added to `server`; the
 * function it gives adds the refusals of every other method.
 */
export function refuseOtherMethods(server: FastifyInstance): () => void {
  const known = new Map<string, Set<string>>();
  let watching = true;
  server.addHook('onRoute', ({ url, method }) => {
    if (watching) known.set(url, new Set([...(known.get(url) ?? []), ...[method].flat()]));
  });
  return () => {
    watching = false;
    for (const [url, methods] of known) {
      const allowed = [...methods].toSorted().join(', ');
      const handler = async (_request: unknown, reply: { header(name: string, value: string): unknown }) => {
        reply.header('allow', allowed);
        throw new HttpRefusal('method_not_allowed', `expected one of ${allowed}`);
      };
      // Before the body is read; behind the guard, which looks first.
      server.route({
        url,
        method: METHODS.filter((method) => !methods.has(method)),
        ...FOR_USERS, // it tells which methods the document has
        schema: { hide: true },
        exposeHeadRoute: false,
        onRequest: handler,
        handler,
      });
    }
  };
}
