import type { FastifyInstance } from 'fastify';
import { FOR_USERS } from './permission.ts';
import { HttpRefusal } from './problem.ts';

const METHODS = ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT'];

/**
 * Fastify answers a wrong method like a path that does not exist. This function watches which routes are added to `server` and
 * returns another one, which adds to every known path a refusal (405) of all methods that the path does not have.
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
      // The refusal comes before the body is read, and after the guard has looked.
      server.route({
        url,
        method: METHODS.filter((method) => !methods.has(method)),
        ...FOR_USERS, // the refusal says nothing that the public document does not say
        schema: { hide: true },
        exposeHeadRoute: false,
        onRequest: handler,
        handler,
      });
    }
  };
}
