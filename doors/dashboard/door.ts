import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Caller } from '../web/auth.ts';
import { callerOf } from '../web/guard.ts';
import { permitByRoute } from '../web/permission.ts';
import { sendProblem } from '../web/problem.ts';

const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types lit-html";

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

export interface DoorOptions {
  authenticate: (authorization: string | undefined) => Promise<Caller | null>;
  readOnly: boolean;
  /** The changes that are let through, each as its method and the pattern of its route. */
  changes: ReadonlySet<string>;
}

/**
 * Stands before everything that the dashboard serves. It asks who is there and refuses all changes but a few. Each route that is
 * added to `server` after this is for services unless its own options say that users may use it.
 */
export function guard(server: FastifyInstance, { authenticate, readOnly, changes }: DoorOptions): void {
  server.decorateRequest('caller', null);
  server.setErrorHandler(sendProblem);
  permitByRoute(server, callerOf);
  server.addHook('onRequest', async (request, reply) => {
    reply.headers({ ...HEADERS, 'content-security-policy': PAGE_POLICY });
    const caller = await authenticate(request.headers.authorization);
    if (!caller) {
      reply.header('www-authenticate', 'Basic realm="Mnemoq", charset="UTF-8"');
      return refuse(reply, 401, 'UNAUTHORIZED', 'a name and its secret of MEMORY_API_KEYS are needed');
    }
    request.caller = caller;
    const reason = isLook(request) ? null : refusalOf(request, readOnly, changes);
    if (reason !== null) return refuse(reply, 403, 'FORBIDDEN', reason);
    return undefined;
  });
}

/** Gives the part of the memory that the caller may see, as an option of the calls of MemoryCore. */
export function scopeOf(request: FastifyRequest): { userId?: string } {
  const { userId } = callerOf(request);
  return userId === null ? {} : { userId };
}

/** Gives the reason why a request that changes something is refused, and null when it is allowed. */
function refusalOf(request: FastifyRequest, readOnly: boolean, changes: ReadonlySet<string>): string | null {
  if (isFromElsewhere(request)) return 'This request was made by the page of another site';
  if (readOnly) return 'This dashboard is for looking only: MEMORY_DASHBOARD_READ_ONLY is true';
  if (changes.has(`${request.method} ${request.routeOptions.url}`)) return null;
  return 'This dashboard neither changes nor removes jobs: see mnemoq quarantine --help';
}

/**
 * A browser adds the name and secret that it knows to every request for this address, also when a page of another site made it
 * send that request (CSRF). It says in headers that no page can set where the request comes from: browsers since 2020 in
 * `Sec-Fetch-Site`, older ones in `Origin`. A client that sends neither header is not a browser, so whoever uses it has given
 * it the secret on purpose.
 */
function isFromElsewhere({ headers }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  return headers.origin !== undefined && URL.parse(headers.origin)?.host !== headers.host;
}

function isLook({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Answers in the form in which Bull Board's page shows errors. */
export async function refuse(reply: FastifyReply, status: number, key: string, message: string): Promise<FastifyReply> {
  return reply.code(status).send({ error: { key: `ERRORS.${key}` }, message });
}
