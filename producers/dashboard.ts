import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import basicAuth from '@fastify/basic-auth';
import { Queue } from 'bullmq';
import fastify from 'fastify';
import { isClusterUrl } from '../shared/cluster-url.ts';
import { type ConfigWith, type Environment, loadConfig } from '../shared/config.ts';
import { MnemoqError } from '../shared/errors.ts';
import { Keys } from '../shared/keys.ts';
import { createLogger } from '../shared/log.ts';
import { QUEUES } from '../shared/queues.ts';
import { connectWorkerRedis } from '../shared/redis.ts';
import { Authenticator } from './auth.ts';

export interface Dashboard {
  url: string;
  stop(): Promise<void>;
}

type DashboardConfig = ConfigWith<'redisUrl' | 'apiKeys'>;

/** Fields by name, with their own fields or `true` for all there is in them. */
interface Fields {
  readonly [name: string]: true | Fields;
}

/** What is shown of a job's data. Anything else may be text, whatever a client called it, and is shown as its size. */
const SHOWN: Fields = {
  id: true,
  contextId: true,
  userId: true,
  createdAt: true,
  important: true,
  visibility: true,
  sourceIds: true,
  reason: true,
  batchSize: true,
  attempt: true,
  row: { id: true, context_id: true, user_id: true, created_at: true, module: true, cid: true },
  error: { code: true, message: true },
};

/**
 * What the board may do besides looking, by Bull Board's own routes. Nothing that changes, adds or removes jobs: their data
 * is shown without text, so saving it back would destroy it, and an emptied queue is lost memory.
 */
const ACTIONS = new Set([
  'PUT /api/queues/pause',
  'PUT /api/queues/resume',
  'PUT /api/queues/:queueName/pause',
  'PUT /api/queues/:queueName/resume',
  'PUT /api/queues/:queueName/promote',
  'PUT /api/queues/:queueName/retry/:queueStatus',
  'PUT /api/queues/:queueName/:jobId/promote',
  'PUT /api/queues/:queueName/:jobId/retry',
]);

/** In the form in which Bull Board's page shows errors. */
const REFUSAL = {
  error: { key: 'ERRORS.FORBIDDEN' },
  message: 'This dashboard neither changes nor removes jobs: see mnemoq quarantine --help',
};

/** The page asks for fonts from elsewhere; who looks at these queues, and when, is nobody else's business. */
const ONLY_FROM_HERE =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'";

/**
 * Bull Board over all queues. Asks for a name and secret of MEMORY_API_KEYS, listens on MEMORY_DASHBOARD_HOST (loopback)
 * and MEMORY_DASHBOARD_PORT, and never shows a message's text.
 */
export async function startDashboard(environment: Environment): Promise<Dashboard> {
  const config = loadConfig(environment, ['redisUrl', 'apiKeys']);
  const redis = connectWorkerRedis(config.redisUrl, createLogger(config.logLevel, 'mnemoq-dashboard'));
  const { queuePrefix: prefix } = new Keys(isClusterUrl(config.redisUrl));
  const queues = QUEUES.map((name) => new Queue(name, { connection: redis, prefix }));
  const board = new FastifyAdapter();
  createBullBoard({
    queues: queues.map(createAdapter),
    serverAdapter: board,
    options: { uiConfig: { boardTitle: 'Mnemoq' } },
  });

  const server = fastify();
  await server.register(basicAuth, { validate: validator(config), authenticate: { realm: 'Mnemoq' } });
  server.addHook('onRequest', server.basicAuth);
  server.addHook('onRequest', async (request, reply) => {
    reply.header('content-security-policy', ONLY_FROM_HERE);
    if (request.method === 'GET' || ACTIONS.has(`${request.method} ${request.routeOptions.url}`)) return;
    await reply.code(403).send(REFUSAL);
  });
  await server.register(board.registerPlugin());

  const stop = async () => {
    await server.close();
    await Promise.all(queues.map((queue) => queue.close()));
    redis.disconnect();
  };
  try {
    return { url: await server.listen({ host: config.dashboardHost, port: config.dashboardPort }), stop };
  } catch (error) {
    await stop();
    throw listenError(error, config);
  }
}

function createAdapter(queue: Queue): BullMQAdapter {
  const adapter = new BullMQAdapter(queue);
  adapter.setFormatter('data', (data: unknown) => withoutText(data, SHOWN));
  return adapter;
}

/** A copy with the shown fields, and in place of every other value its size. */
function withoutText(data: unknown, shown: Fields): unknown {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return sizeOf(data);
  const visible = Object.entries(data).map(([name, value]) => {
    const fields = Object.hasOwn(shown, name) ? shown[name] : undefined;
    if (fields === true) return [name, value];
    return [name, fields ? withoutText(value, fields) : sizeOf(value)];
  });
  return Object.fromEntries(visible);
}

function sizeOf(value: unknown): unknown {
  if (typeof value === 'string') return `[${value.length} characters]`;
  if (Array.isArray(value)) return `[${value.length} items]`;
  return typeof value === 'object' && value !== null ? `[${Object.keys(value).length} fields]` : value;
}

function listenError(error: unknown, { dashboardHost, dashboardPort }: DashboardConfig): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return error;
  return new MnemoqError(
    'invalid_configuration',
    `MEMORY_DASHBOARD_PORT: expected a free port, ${dashboardHost}:${dashboardPort} is in use`,
    { cause: error },
  );
}

function validator({ apiKeys }: DashboardConfig) {
  const authenticator = new Authenticator({ apiKeys, supabaseJwtSecret: undefined, supabaseJwksUrl: undefined });
  return async (name: string, secret: string): Promise<void> => {
    const credentials = Buffer.from(`${name}:${secret}`).toString('base64');
    const caller = await authenticator.authenticate(`Basic ${credentials}`);
    if (caller?.userId !== null) throw new Error('unknown name or secret, or a key bound to one user');
  };
}
