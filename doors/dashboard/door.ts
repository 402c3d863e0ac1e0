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
  /** The changes that are made here, as `PUT /the/pattern/of/:its/route`. */
  changes: ReadonlySet<string>;
}

/**
 * Stands before everything the dashboard serves: asks who is there, and refuses the changes that are not made here. Each route
 * that is added to `server` after this is for services unless its own options say that users may use it.
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

/** What of the memory the caller may see, as MemoryCore takes it. */
export function scopeOf(request: FastifyRequest): { userId?: string } {
  const { userId } = callerOf(request);
  return userId === null ? {} : { userId };
}

/** Why a request that changes something is refused; null when it may go on. */
function refusalOf(request: FastifyRequest, readOnly: boolean, changes: ReadonlySet<string>): string | null {
  if (isFromElsewhere(request)) return 'This request was made by the page of another site';
  if (readOnly) return 'This dashboard is for looking only: MEMORY_DASHBOARD_READ_ONLY is true';
  if (changes.has(`${request.method} ${request.routeOptions.url}`)) return null;
  return 'This dashboard neither changes nor removes jobs: see mnemoq quarantine --help';
}

/**
 * A browser sends the name and secret it knows along with whatever any page makes it send here (CSRF). It also says where
 * from, in headers no page can set: browsers since 2020 in `Sec-Fetch-Site`, older ones in `Origin`. What sends neither is
 * no browser, and has put the secret there itself.
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
