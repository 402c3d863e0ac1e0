/**
 * **doors/web/**: what every server here does with a request before a route sees it: who is asking, what is valid, how an
 * error is told.
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
    /** Who is asking; null before the guard has looked, and where there is none. */
    caller: Caller | null;
  }
}

export interface GuardParts {
  authenticator: Authenticator;
  config: Pick<Config, 'rateLimitPerMinute' | 'corsOrigins'>;
}

const A_MINUTE = 60_000;

/**
 * Lets only known callers reach the routes that are added to `server` after this, each at most MEMORY_RATE_LIMIT_PER_MINUTE times a
 * minute; an address that comes with wrong credentials is limited as a whole. It looks before a body is read. A route is for
 * services unless its own options say that users may use it.
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

/** Where no key is asked for, a page in somebody's browser could save and flush: what it sends names where it is from. */
function refuseForeignPage({ headers }: FastifyRequest, allowed: readonly string[] = []): void {
  const { origin, host } = headers;
  if (origin === undefined || allowed.includes(origin) || URL.parse(origin)?.host === host) return;
  throw new MnemoqError('forbidden', 'without keys no page of another origin is answered');
}

/** Who is asking, in a route behind the guard. */
export function callerOf({ caller }: FastifyRequest): Caller {
  if (!caller) throw new HttpRefusal('unauthorized', 'the guard has not looked');
  return caller;
}
