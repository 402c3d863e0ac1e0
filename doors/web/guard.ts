/**
 * **doors/web/**: what every server of Mnemoq does with a request before a route gets it. It finds out who is asking, checks
 * what was sent, and puts errors into their form.
 */
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Config } from '../../shared/settings/variables.ts';
import { MnemoqError } from '../../shared/errors.ts';
import type { Authenticator, Caller } from './auth.ts';
import { permitByRoute } from './permission.ts';
import { HttpRefusal } from './problem.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who is asking. It is null before the guard has looked, and on routes that have no guard. */
    caller: Caller | null;
  }
}

export interface GuardParts {
  authenticator: Authenticator;
  config: Pick<Config, 'rateLimitPerMinute' | 'corsOrigins'>;
}

const A_MINUTE = 60_000;

/**
 * Lets only known callers reach the routes that are added to `server` after this. Each caller may come at most
 * MEMORY_RATE_LIMIT_PER_MINUTE times a minute; requests with wrong credentials are counted for their network address. The guard
 * looks before a body is read. A route is for services unless its own options say that users may use it.
 */
export async function guard(server: FastifyInstance, { authenticator, config }: GuardParts): Promise<void> {
  if (!server.hasRequestDecorator('caller')) server.decorateRequest('caller', null);
  permitByRoute(server, callerOf);
  await server.register(rateLimit, { global: false });
  const limit = (keyOf: (request: FastifyRequest) => string) => {
    const count = server.createRateLimit({ max: config.rateLimitPerMinute, timeWindow: A_MINUTE, keyGenerator: keyOf });
    return async (request: FastifyRequest, reply: FastifyReply) => {
      if (config.rateLimitPerMinute === 0) return;
      const counted = await count(request);
      if (counted.isAllowed) return;
      reply.header('ratelimit-limit', counted.max);
      reply.header('ratelimit-remaining', counted.remaining);
      reply.header('ratelimit-reset', counted.ttlInSeconds);
      if (!counted.isExceeded) return;
      reply.header('retry-after', counted.ttlInSeconds);
      throw new HttpRefusal('rate_limited', `at most ${counted.max} requests a minute`);
    };
  };
  const limitStranger = limit(({ ip }) => `address ${ip}`);
  const limitCaller = limit(({ caller }) => JSON.stringify([caller?.name, caller?.userId]));

  server.addHook('onRequest', async (request, reply) => {
    if (authenticator.open) refuseForeignPage(request, config.corsOrigins);
    request.caller = await authenticator.authenticate(request.headers.authorization, request.headers.host);
    if (request.caller) return limitCaller(request, reply);
    await limitStranger(request, reply);
    reply.header('www-authenticate', 'Bearer realm="Mnemoq"');
    throw new HttpRefusal(
      'unauthorized',
      authenticator.open
        ? 'without keys only requests to a loopback name are taken'
        : 'expected Authorization: Bearer, with an API key or the token of a user signed in to Supabase',
    );
  });
}

/**
 * Where no key is needed, a web page in somebody's browser could save and flush. A browser says in `Origin` from which page a
 * request comes, so requests of foreign pages are refused.
 */
function refuseForeignPage({ headers }: FastifyRequest, allowed: readonly string[] = []): void {
  const { origin, host } = headers;
  if (origin === undefined || allowed.includes(origin) || URL.parse(origin)?.host === host) return;
  throw new MnemoqError('forbidden', 'without keys no page of another origin is answered');
}

/** Gives the caller in a route behind the guard. */
export function callerOf({ caller }: FastifyRequest): Caller {
  if (!caller) throw new HttpRefusal('unauthorized', 'the guard has not looked');
  return caller;
}
