/**
 * **doors/dashboard/**: the memory page and Bull Board, for people. What runs in the browser stands in `page/`.
 */
import { Queue } from 'bullmq';
import fastify, { type FastifyInstance } from 'fastify';
import { isClusterUrl } from '../../shared/settings/cluster-url.ts';
import { type ConfigWith, type Environment, loadConfig } from '../../shared/settings/config.ts';
import { type HealthServer, startHealthServer } from '../../shared/process/health-server.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { listen } from '../../shared/process/listen.ts';
import { createLogger } from '../../shared/telemetry/log.ts';
import { Metrics } from '../../shared/telemetry/metrics.ts';
import { addMetricsRoute, timeRequests } from '../../shared/telemetry/metrics-route.ts';
import { QUEUES } from '../../shared/queues.ts';
import { connectWorkerRedis, type RedisClient } from '../../shared/redis/connection.ts';
import { withinTime } from '../../shared/redis/within-time.ts';
import { Authenticator, requireService } from '../web/auth.ts';
import { callerOf } from '../web/guard.ts';
import { sendProblem } from '../web/problem.ts';
import { PARAMETER_LENGTH } from '../http/server.ts';
import { MemoryCore } from '../../producers/memory-core.ts';
import { BOARD_ACTIONS, BOARD_PATH, registerBoard } from './board.ts';
import { guard } from './door.ts';
import { registerPage } from './page.ts';

export interface Dashboard {
  /** The address of the memory page. Without a memory page it leads to the queues. */
  url: string;
  /** The address of Bull Board. */
  queuesUrl: string;
  /** Reads the API keys again, from the environment that `read` returns. */
  reloadKeys(read: () => Environment): void;
  stop(): Promise<void>;
}

/** How long Redis may take to answer a question about its health. */
const ANSWER_MS = 2_000;

/** The only changes that the dashboard lets through: it is for looking. */
const CHANGES: ReadonlySet<string> = new Set([...BOARD_ACTIONS, 'POST /memory/flush']);

type DashboardConfig = ConfigWith<'redisUrl' | 'apiKeys'>;

/**
 * Starts the memory page, and Bull Board for all queues at `/queues`. It asks for a name and its secret of MEMORY_API_KEYS and
 * listens on MEMORY_DASHBOARD_HOST (loopback) and MEMORY_DASHBOARD_PORT. The page reads memory, so it needs SUPABASE_URL and
 * SUPABASE_SERVICE_ROLE_KEY, and MEMORY_ENCRYPTION_KEYS and IPFS_API_URL for what is encrypted and pinned. Without the first two
 * only the queues are shown, and this process needs nothing but Redis.
 */
export async function startDashboard(environment: Environment): Promise<Dashboard> {
  const config = loadConfig(environment, ['redisUrl', 'apiKeys']);
  const authenticator = new Authenticator(config);
  const logger = createLogger(config.logLevel, 'mnemoq-dashboard');
  const redis = connectWorkerRedis(config.redisUrl, logger);
  const { queuePrefix: prefix } = new Keys(isClusterUrl(config.redisUrl));
  const queues = QUEUES.map((name) => new Queue(name, { connection: redis, prefix }));
  const memory = hasPage(config) ? new MemoryCore(environment) : null;
  const server = fastify({
    forceCloseConnections: true, // event streams never end by themselves
    routerOptions: { maxParamLength: PARAMETER_LENGTH },
  });
  const metrics = memory?.metrics ?? new Metrics();
  let health: HealthServer | null = null;
  const stop = async () => {
    await server.close();
    await health?.close();
    await memory?.close();
    await Promise.all(queues.map((queue) => queue.close()));
    redis.disconnect();
  };
  try {
    const { dashboardReadOnly: readOnly, dashboardShowText: showText } = config;
    timeRequests(server, metrics);
    guard(server, {
      authenticate: (authorization) => authenticator.authenticate(authorization),
      readOnly,
      changes: CHANGES,
    });
    await registerBoard(server, queues, { readOnly, showText, hasPage: memory !== null });
    if (memory) await registerPage(server, memory, queues, authenticator, config);
    else await serveQueuesAlone(server, metrics);
    const url = await listen(server, 'MEMORY_DASHBOARD_PORT', config.dashboardHost, config.dashboardPort);
    health = await startHealthServer(config, async () => readinessOf(redis), metrics);
    const reloadKeys = (read: () => Environment) => authenticator.reload(read, logger);
    return { url, queuesUrl: `${url}${BOARD_PATH}`, reloadKeys, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function hasPage({ supabaseUrl, supabaseServiceRoleKey }: DashboardConfig): boolean {
  return supabaseUrl !== undefined && supabaseServiceRoleKey !== undefined;
}

/** Adds the routes that a dashboard without a memory page needs. With one, the routes of the HTTP API include `/metrics`. */
async function serveQueuesAlone(server: FastifyInstance, metrics: Metrics): Promise<void> {
  server.get('/', async (_request, reply) => reply.redirect(`${BOARD_PATH}/`));
  await server.register(async (scope) => {
    scope.setErrorHandler(sendProblem);
    addMetricsRoute(scope, metrics, (request) => requireService(callerOf(request)));
  });
}

async function readinessOf(redis: RedisClient): Promise<{ ready: boolean }> {
  try {
    await withinTime(redis.ping(), ANSWER_MS, 'asking for its health');
    return { ready: true };
  } catch {
    return { ready: false }; // the connection itself logs that Redis is away
  }
}
