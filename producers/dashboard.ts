import { createHash, timingSafeEqual } from 'node:crypto';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import basicAuth from '@fastify/basic-auth';
import { Queue } from 'bullmq';
import fastify from 'fastify';
import { type ConfigWith, type Environment, loadConfig } from '../shared/config.ts';
import { Keys } from '../shared/keys.ts';
import { createLogger } from '../shared/log.ts';
import { QUEUES } from '../shared/queues.ts';
import { connectWorkerRedis, isClusterUrl } from '../shared/redis.ts';

export interface Dashboard {
  url: string;
  stop(): Promise<void>;
}

type DashboardConfig = ConfigWith<'redisUrl' | 'apiKeys'>;

/** Where text can stand in a job: these fields are shown as their length. */
const TEXT_FIELDS = new Set(['userMessage', 'assistantMessage', 'reflectionText', 'text_cache', 'tokens']);

/**
 * What the board may do besides looking. Nothing that changes, adds or removes jobs: their data is shown without text, so
 * saving it back would destroy it, and an emptied queue is lost memory.
 */
const ALLOWED_ACTIONS =
  /^\/api\/queues\/(pause|resume|[^/]+\/(pause|resume|promote|retry\/[^/]+|[^/]+\/(retry|promote)))$/;

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
    const { pathname } = new URL(request.url, 'http://dashboard');
    if (request.method === 'GET' || ALLOWED_ACTIONS.test(pathname)) return;
    await reply
      .code(403)
      .send({ error: 'This dashboard neither changes nor removes jobs: see mnemoq quarantine --help' });
  });
  await server.register(board.registerPlugin());
  const url = await server.listen({ host: config.dashboardHost, port: config.dashboardPort });
  return {
    url,
    async stop() {
      await server.close();
      await Promise.all(queues.map((queue) => queue.close()));
      redis.disconnect();
    },
  };
}

function createAdapter(queue: Queue): BullMQAdapter {
  const adapter = new BullMQAdapter(queue);
  adapter.setFormatter('data', withoutText);
  return adapter;
}

/** A copy in which every text and token array is replaced by its size. */
export function withoutText(data: unknown): unknown {
  if (Array.isArray(data)) return data.map(withoutText);
  if (typeof data !== 'object' || data === null) return data;
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => [name, TEXT_FIELDS.has(name) ? sizeOf(value) : withoutText(value)]),
  );
}

function sizeOf(value: unknown): string {
  return typeof value === 'string' ? `[${value.length} characters]` : '[hidden]';
}

function validator({ apiKeys }: DashboardConfig) {
  return async (name: string, secret: string): Promise<void> => {
    const known = apiKeys.filter((key) => [key.name === name, sameSecret(key.secret, secret)].every(Boolean));
    if (known.length === 0) throw new Error('unknown name or secret');
  };
}

/** Compares digests, so that neither content nor length of the secret shows in the time it takes. */
function sameSecret(a: string, b: string): boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest();
  return timingSafeEqual(digest(a), digest(b));
}
