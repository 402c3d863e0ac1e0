import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fastify from 'fastify';
import { startDashboard } from '../../doors/dashboard/dashboard.ts';
import { addRoutes, route } from '../../doors/http/route.ts';
import { startApi } from '../../doors/http/server.ts';
import { startMcpHttp } from '../../doors/mcp/http-door.ts';
import { permitByRoute } from '../../doors/web/permission.ts';
import { sendProblem } from '../../doors/web/problem.ts';
import { compileSerializer, compileValidator } from '../../doors/web/validation.ts';
import { type Answer, askRaw, LET_IN, type Route, withRoutes } from '../support/clients/doors-routes.ts';
import { claims, hs256Token } from '../support/clients/user-tokens.ts';
import { SPELLINGS } from '../support/inputs/spellings.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

/**
 * Every route of every door, by every kind of caller, in every spelling of its address. The routes come from Fastify, so a new
 * one is tried as well. A route that no table here names has to refuse users.
 */
const [SERVICE, BOUND, SECRET] = [1, 2, 3].map(() => randomBytes(32).toString('base64url')) as [string, string, string];
const USER = randomUUID();

/** What a signed-in user may call on the API. What of the data a user sees there, test/http/authorization.test.ts asks. */
const OF_USERS = new Set([
  'POST /memory/chat',
  'POST /memory/reflection',
  'POST /memory/reflection/request',
  'POST /memory/finetune',
  'POST /memory/knowledge',
  'GET /memory/context/:context_id',
  'GET /memory/context/:context_id/recent',
  'GET /memory/conversations',
  'GET /memory/events',
  'GET /memory/export',
  'GET /memory/knowledge',
  'GET /memory/records/:id',
  'GET /memory/records/:id/status',
  'GET /memory/reflections',
  'GET /memory/reflections/:context_id',
  'GET /memory/reflections/:context_id/cid',
  'GET /memory/search',
  'GET /memory/trace/:reflection',
  'GET /memory/trends',
  'GET /memory/verify/:cid',
  'DELETE /memory/context/:context_id',
  'DELETE /memory/users/:user_id',
]);
/** What a user may look at on the dashboard besides; whatever is below `/page/` and ends like this is a file of the page. */
const PAGE = new Set(['/', '/page/of/caller', '/page/of/statuses', '/page/of/queued', '/page/of/pieces/:id']);
const PAGE_FILE = /^\/page\/.*\.(js|css|svg)$/;
/** The only changes that the dashboard makes, for anybody. */
const CHANGES = new Set([
  'POST /memory/flush',
  ...['pause', 'resume', ':queueName/pause', ':queueName/resume', ':queueName/promote'].map(onBoard),
  ...[':queueName/retry/:queueStatus', ':queueName/:jobId/promote', ':queueName/:jobId/retry'].map(onBoard),
]);

function onBoard(action: string): string {
  return `PUT /queues/api/queues/${action}`;
}

type Kind = 'nobody' | 'wrong key' | 'bound key' | 'user token' | 'service key';
const USERS: ReadonlySet<Kind> = new Set(['bound key', 'user token']);

let stack: Stack;
const callers = new Map<Kind, string | undefined>();
beforeAll(async () => {
  const environment = {
    MEMORY_API_KEYS: `ops:${SERVICE},web@${USER}:${BOUND}`,
    SUPABASE_JWT_SECRET: SECRET,
    MEMORY_RATE_LIMIT_PER_MINUTE: '0',
    MEMORY_API_PORT: '0',
    MEMORY_DASHBOARD_PORT: '0',
    MEMORY_MCP_PORT: '0',
    MEMORY_HEALTH_PORT: '0',
  };
  stack = await startStack({ environment });
  callers.set('nobody', undefined);
  callers.set('wrong key', `Basic ${Buffer.from(`ops:${BOUND}`).toString('base64')}`);
  callers.set('bound key', `Bearer ${BOUND}`);
  callers.set('user token', `Bearer ${await hs256Token(SECRET, claims(USER))}`);
  callers.set('service key', `Bearer ${SERVICE}`);
});
afterAll(() => stack.stop());

const AT_ONCE = 16;

interface Tried extends Answer {
  kind: Kind;
  spelling: string;
  method: string;
  address: string;
}

/** Asks for every route in every spelling as every kind of caller. */
async function tryAll(base: string, routes: readonly Route[]): Promise<Tried[]> {
  const known = [...new Map(routes.map((route) => [`${route.method} ${route.url}`, route])).values()];
  const questions = known.flatMap(({ method, url }) =>
    // Fastify makes a HEAD of every GET, with the same options; the files of the page are all added in the same way.
    (method === 'HEAD' || PAGE_FILE.test(url) ? SPELLINGS.slice(0, 1) : SPELLINGS).flatMap(([spelling, spell]) =>
      [...callers].map(([kind, authorization]) => ({
        kind,
        spelling,
        authorization,
        method,
        address: spell(url.replaceAll(/:\w+|\*/g, 'x')),
      })),
    ),
  );
  const tried: Tried[] = [];
  const next = questions[Symbol.iterator]();
  const askOn = async () => {
    for (const { authorization, ...question } of next) {
      tried.push({ ...question, ...(await askRaw(base, question.method, question.address, authorization)) });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, askOn));
  return tried;
}

/** What a caller has to be answered for the route that was found. */
type Rule = (kind: Kind, method: string, route: string) => number;

/** Those that were answered otherwise, in words; an address that no server can read is refused before anybody is asked for. */
function wrong(tried: readonly Tried[], rule: Rule): string[] {
  return tried
    .filter(({ status, route, kind, method, allow }) => {
      if (route === null) return status !== 400;
      // Fastify looks for the body of some methods before it says that the path is not there.
      if (route === '' && status === 400) return false;
      // The path exists and has no such method: said to whoever may know that.
      if (status === 405) return (allow ?? method).split(', ').includes(method) || isStranger(kind);
      return status !== rule(kind, method, route);
    })
    .map(({ kind, method, address, route, status }) => `${kind}: ${method} ${address} found ${route}: ${status}`);
}

function isStranger(kind: Kind): boolean {
  return kind === 'nobody' || kind === 'wrong key';
}

function isLook(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

function isOfUsers(method: string, route: string): boolean {
  return OF_USERS.has(`${method === 'HEAD' ? 'GET' : method} ${route}`);
}

/** The spellings in which some address was found: had none been, nothing would have been tried. */
function spellingsThatOpen(tried: readonly Tried[]): string[] {
  const opened = tried.filter(({ status, kind }) => kind === 'service key' && status === LET_IN);
  return [...new Set(opened.map(({ spelling }) => spelling))];
}

describe('whatever way an address is written', () => {
  test('the dashboard shows users what is theirs and nobody but services the queues', async () => {
    const { door, routes } = await withRoutes(() => startDashboard(stack.environment));
    try {
      expect(routes.filter(({ url }) => url.startsWith('/queues')).length).toBeGreaterThan(40);
      const tried = await tryAll(door.url, routes);
      const rule: Rule = (kind, method, route) => {
        if (isStranger(kind)) return 401;
        if (!isLook(method)) return CHANGES.has(`${method} ${route}`) && !USERS.has(kind) ? LET_IN : 403;
        if (route === '') return 404;
        if (!USERS.has(kind) || isOfUsers(method, route)) return LET_IN;
        return PAGE.has(route) || PAGE_FILE.test(route) ? LET_IN : 403;
      };
      expect(wrong(tried, rule)).toEqual([]);
      expect(spellingsThatOpen(tried).length).toBeGreaterThan(10);
    } finally {
      await door.stop();
    }
  });

  test('the API gives users what is theirs and nobody but services what is about everybody', async () => {
    const { door, routes } = await withRoutes(() => startApi(stack.environment, '1.0.0'));
    try {
      const tried = await tryAll(door.url, routes);
      const rule: Rule = (kind, method, route) => {
        if (route === '') return 404;
        if (/^\/(health|docs)(\/|$)/.test(route)) return LET_IN;
        if (isStranger(kind)) return 401;
        return !USERS.has(kind) || isOfUsers(method, route) ? LET_IN : 403;
      };
      expect(wrong(tried, rule)).toEqual([]);
      expect(spellingsThatOpen(tried).length).toBeGreaterThan(10);
    } finally {
      await door.stop();
    }
  });

  test('MCP over HTTP knows who is asking', async () => {
    const { door, routes } = await withRoutes(() => startMcpHttp(stack.environment, '1.0.0'));
    try {
      const tried = await tryAll(new URL(door.url).origin, routes);
      const rule: Rule = (kind, _method, route) => {
        if (route === '') return 404;
        return route === '/mcp' && isStranger(kind) ? 401 : LET_IN;
      };
      expect(wrong(tried, rule)).toEqual([]);
      expect(spellingsThatOpen(tried).length).toBeGreaterThan(10);
    } finally {
      await door.stop();
    }
  });
});

test('a route that does not say who may use it is for services, and as a row of the table it does not compile', async () => {
  const server = fastify();
  server.setErrorHandler(sendProblem);
  server.decorateRequest('caller', null);
  permitByRoute(server, () => ({ name: 'web', userId: USER }));
  server.setValidatorCompiler(compileValidator as never);
  server.setSerializerCompiler(compileSerializer);
  server.get('/new', () => 'everything');
  const described = { id: 'new', summary: '', tag: '', parts: {}, answers: {}, call: () => ({}) };
  // @ts-expect-error it has no permission
  addRoutes(server, [route({ at: 'GET /row', ...described })]);
  addRoutes(server, [route({ at: 'GET /of-users', permission: 'users', ...described })]);
  const statusOf = async (url: string) => (await server.inject(url)).statusCode;
  expect(await Promise.all(['/new', '/row', '/of-users'].map(statusOf))).toEqual([403, 403, 200]);
});
