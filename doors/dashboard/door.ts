import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Caller } from '../web/auth.ts';
import { callerOf } from '../web/guard.ts';
import { BOARD_ACTIONS, BOARD_PATH } from './board.ts';

/** Besides the board's: asking for a flush. What else the API can do is no business of a page that is for looking. */
const ACTIONS: ReadonlySet<string> = new Set([...BOARD_ACTIONS, 'POST /memory/flush']);

/** Bull Board's page asks for fonts from elsewhere; who looks at these queues, and when, is nobody else's business. */
const BOARD_POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'";
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
}

/** Stands before everything the dashboard serves: asks who is there, and refuses what this door is not for. */
export function guard(server: FastifyInstance, { authenticate, readOnly }: DoorOptions): void {
  server.decorateRequest('caller', null);
  server.addHook('onRequest', async (request, reply) => {
    const onBoard = isOnBoard(request.url);
    reply.headers({ ...HEADERS, 'content-security-policy': onBoard ? BOARD_POLICY : PAGE_POLICY });
    const caller = await authenticate(request.headers.authorization);
    if (!caller) {
      reply.header('www-authenticate', 'Basic realm="Mnemoq", charset="UTF-8"');
      return refuse(reply, 401, 'UNAUTHORIZED', 'a name and its secret of MEMORY_API_KEYS are needed');
    }
    request.caller = caller;
    if (onBoard && caller.userId !== null) {
      return refuse(reply, 403, 'FORBIDDEN', 'the queues hold the jobs of all users: they are for services');
    }
    const reason = isLook(request) ? null : refusalOf(request, readOnly);
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
function refusalOf(request: FastifyRequest, readOnly: boolean): string | null {
  if (isFromElsewhere(request)) return 'This request was made by the page of another site';
  if (readOnly) return 'This dashboard is for looking only: MEMORY_DASHBOARD_READ_ONLY is true';
  if (ACTIONS.has(`${request.method} ${request.routeOptions.url}`)) return null;
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

function isOnBoard(url: string): boolean {
  const [pathname = ''] = url.split('?');
  return pathname === BOARD_PATH || pathname.startsWith(`${BOARD_PATH}/`);
}

/** In the form in which Bull Board's page shows errors. */
async function refuse(reply: FastifyReply, status: number, key: string, message: string): Promise<FastifyReply> {
  return reply.code(status).send({ error: { key: `ERRORS.${key}` }, message });
}
