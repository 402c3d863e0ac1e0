import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, RouteShorthandOptions } from 'fastify';
import type { z } from 'zod';
import { userFor } from '../web/auth.ts';
import { callerOf } from '../web/guard.ts';
import type { Permission } from '../web/permission.ts';
import { LINK, nextLink } from '../wire/paging.ts';
import { type CamelKeys, toCamel, toSnake } from '../wire/snake-case.ts';
import { operation, type Operation } from './operation.ts';

/** The schemas of what a request brings. */
interface Parts {
  params?: z.ZodType<object>;
  querystring?: z.ZodType<object>;
  body?: z.ZodType<object>;
  headers?: z.ZodType<object>;
}

type Given<P extends Parts, Part extends keyof Parts> = P[Part] extends z.ZodType<infer T> ? T : object;

/** The fields of a query or a body, with the user whom the caller may ask about in place of the one who was named. */
type Scoped<T> = Omit<CamelKeys<T>, 'userId'> & { userId?: string };

/** What a request asks for, under the names of MemoryCore. */
interface Asked<P extends Parts> {
  params: CamelKeys<Given<P, 'params'>>;
  query: Scoped<Given<P, 'querystring'>>;
  body: Scoped<Given<P, 'body'>>;
  headers: Given<P, 'headers'>;
}

interface Exchange {
  request: FastifyRequest;
  reply: FastifyReply;
}

interface RouteOf<P extends Parts> extends Omit<Operation<P>, 'open'> {
  at: `${'GET' | 'POST' | 'DELETE'} /${string}`;
  permission: Permission;
  /** True when the answer has a `nextCursor`. Then a header `Link` leads to the next page. */
  pages?: true;
  /** Further options for Fastify. */
  options?: Pick<RouteShorthandOptions, 'exposeHeadRoute' | 'logLevel'> & { sse?: 'manual' };
  /** Returns the answer of MemoryCore, which is then sent under the names of HTTP, or `reply` when it has sent an answer itself. */
  call: (asked: Asked<P>, exchange: Exchange) => unknown;
}

/** A route, declared like a row of a table. A declaration that does not say who may use the route does not compile. */
export type Route = (server: FastifyInstance) => void;

export function route<const P extends Parts>({
  at,
  permission,
  pages,
  options,
  call,
  ...described
}: RouteOf<P>): Route {
  const [method = '', url = ''] = at.split(' ');
  const { 200: done, ...others } = described.answers;
  const answers =
    pages && done ? { ...others, 200: { ...done, headers: { ...LINK, ...done.headers } } } : described.answers;
  const schema: FastifySchema = operation({ ...described, answers, ...(permission === 'everybody' && { open: true }) });
  return (server) => {
    server.route({
      method,
      url,
      ...options,
      config: { permission },
      schema,
      handler: async (request, reply) => {
        const asked = {
          params: toCamel(request.params as object),
          query: scoped(request, request.query as object),
          body: scoped(request, request.body ?? {}),
          headers: request.headers,
        };
        const answer = await call(asked as never, { request, reply });
        if (answer === reply) return reply;
        if (pages) nextLink(request, reply, (answer as { nextCursor: string | null }).nextCursor);
        return toSnake(answer);
      },
    });
  };
}

export function addRoutes(server: FastifyInstance, routes: readonly Route[]): void {
  for (const add of routes) add(server);
}

/** Puts the user whom the caller may ask about into the fields, so that no id leads to records of anybody else. */
function scoped(request: FastifyRequest, fields: object): object {
  const { userId: named, ...others } = toCamel(fields) as { userId?: string };
  if (!request.caller) return others; // a route for everybody reads no records
  const userId = userFor(callerOf(request), named);
  return { ...others, ...(userId !== undefined && { userId }) };
}
