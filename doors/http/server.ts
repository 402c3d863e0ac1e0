/**
 * **doors/http/**: the HTTP API: the server, the form in which routes are declared, and their description as OpenAPI. The routes
 * stand in `routes/`.
 */
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import cors from '@fastify/cors';
import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { type Environment, loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { type HealthServer, startHealthServer } from '../../shared/process/health-server.ts';
import { listen } from '../../shared/process/listen.ts';
import { createLogger, type Logger } from '../../shared/telemetry/log.ts';
import { addMetricsRoute, timeRequests } from '../../shared/telemetry/metrics-route.ts';
import { Authenticator, requireService, requireKeysBeyondLoopback } from '../web/auth.ts';
import { MemoryCore } from '../../producers/index.ts';
import { addEventRoute } from './routes/events.ts';
import { callerOf, guard, type GuardParts } from '../web/guard.ts';
import { eraseRoutes } from './routes/erase-routes.ts';
import { addHealthRoutes, readinessOf } from './routes/health-routes.ts';
import { learningRoutes } from './routes/learning-routes.ts';
import { refuseOtherMethods } from '../web/methods.ts';
import { addOpenApi } from './openapi.ts';
import { PROBLEM_TYPE, sendNotFound, sendProblem, toProblem } from '../web/problem.ts';
import { provenanceRoutes } from './routes/provenance-routes.ts';
import { exportRoutes } from './routes/export-routes.ts';
import { reflectionRoutes } from './routes/reflection-routes.ts';
import { addRoutes } from './route.ts';
import { readRoutes } from './routes/read-routes.ts';
import { traceRequests } from '../web/request-spans.ts';
import { saveRoutes } from './routes/save-routes.ts';
import { serviceRoutes } from './routes/service-routes.ts';
import { TURN_BYTES } from '../web/turn-bytes.ts';
import { compileSerializer, compileValidator } from '../web/validation.ts';

export interface Api {
  url: string;
  /** True where no keys are configured. Then everybody on this machine gets in, and nobody else. */
  open: boolean;
  /** Reads the API keys again, from the environment that `read` returns. */
  reloadKeys(read: () => Environment): void;
  /** Takes no more requests, lets those that were begun finish within MEMORY_SHUTDOWN_TIMEOUT_MS, and closes all connections. */
  stop(): Promise<void>;
}

/** The length of the longest id of a conversation when every byte of it is percent-encoded. */
export const PARAMETER_LENGTH = 512 * 9;
/** The longest time that a client may take to send a request. */
const REQUEST_MS = 120_000;

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
};

export interface MemoryRouteParts extends GuardParts {
  memory: MemoryCore;
}

/** Starts what `mnemoq api` offers. It listens on MEMORY_API_HOST (loopback) and MEMORY_API_PORT. */
export async function startApi(environment: Environment, version: string): Promise<Api> {
  const config = loadConfig(environment, STORE_SETTINGS);
  requireKeysBeyondLoopback(config, 'MEMORY_API_HOST', config.apiHost);
  const logger = createLogger(config.logLevel, 'mnemoq-api');
  const authenticator = new Authenticator(config);
  const memory = new MemoryCore(environment);
  const server = createServer(logger);
  let health: HealthServer | null = null;
  let stopping = false;
  // A connection that is kept open for more requests would delay the end of the process until it times out.
  server.addHook('onSend', async (_request, reply) => {
    if (stopping) reply.header('connection', 'close');
  });
  const stop = async () => {
    stopping = true;
    const deadline = setTimeout(() => {
      logger.warn('requests were still in hand; their connections are cut');
      server.server.closeAllConnections();
    }, config.shutdownTimeoutMs);
    await server.close();
    clearTimeout(deadline);
    await health?.close();
    await memory.close();
  };
  try {
    timeRequests(server, memory.metrics);
    if (config.corsOrigins) await server.register(cors, corsOptions(config.corsOrigins));
    await addOpenApi(server, version);
    addHealthRoutes(server, memory);
    await server.register(async (scope) => registerMemoryRoutes(scope, { memory, authenticator, config }));
    const url = await listen(server, 'MEMORY_API_PORT', config.apiHost, config.apiPort);
    health = await startHealthServer(config, async () => readinessOf(memory), memory.metrics);
    return { url, open: authenticator.open, reloadKeys: (read) => authenticator.reload(read, logger), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Adds all routes of `/memory/…` behind the guard. `server` should be a scope of its own, as all its routes get the guard. */
export async function registerMemoryRoutes(server: FastifyInstance, parts: MemoryRouteParts): Promise<void> {
  server.setValidatorCompiler(compileValidator as never);
  server.setSerializerCompiler(compileSerializer);
  server.setErrorHandler(sendProblem);
  const refuseOthers = refuseOtherMethods(server);
  await guard(server, parts);
  traceRequests(server);
  server.addHook('onSend', async (_request, reply) => void reply.header('cache-control', 'no-store'));
  const { memory } = parts;
  addRoutes(
    server,
    [saveRoutes, readRoutes, reflectionRoutes, provenanceRoutes].flatMap((routes) => routes(memory)),
  );
  addRoutes(
    server,
    [learningRoutes, exportRoutes, serviceRoutes, eraseRoutes].flatMap((routes) => routes(memory)),
  );
  addMetricsRoute(server, memory.metrics, (request) => requireService(callerOf(request)));
  await addEventRoute(server, memory);
  refuseOthers();
}

function createServer(logger: Logger): FastifyInstance {
  const loggerInstance: FastifyBaseLogger = logger;
  const server = fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: TURN_BYTES,
    requestTimeout: REQUEST_MS,
    routerOptions: { maxParamLength: PARAMETER_LENGTH },
    genReqId: ({ headers }) => {
      const given = headers['x-request-id'];
      return typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
    },
    // A request that arrived before the server began to close is answered like any other.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply),
    clientErrorHandler: refuseUnreadable,
  });
  server.removeContentTypeParser('text/plain');
  server.setValidatorCompiler(compileValidator as never);
  server.setSerializerCompiler(compileSerializer);
  server.setErrorHandler(sendProblem);
  server.setNotFoundHandler(sendNotFound);
  server.addHook('onRequest', async (request, reply) => void reply.headers(HEADERS).header('x-request-id', request.id));
  // The log gets the pattern of the route. The path would contain ids of users and conversations; queries and headers stay out.
  server.addHook('onResponse', async ({ log, method, routeOptions, caller }, { statusCode: status, elapsedTime }) => {
    const who = caller && { caller: caller.name, userId: caller.userId };
    log.info({ method, route: routeOptions.url, status, ms: Math.round(elapsedTime), ...who }, 'answered');
  });
  return server;
}

function corsOptions(origin: string[]) {
  return {
    origin,
    methods: ['GET', 'POST', 'DELETE'],
    allowedHeaders: ['Authorization', 'Content-Type', 'Idempotency-Key', 'Prefer', 'Traceparent', 'X-Request-Id'],
    exposedHeaders: ['Link', 'Location', 'Preference-Applied', 'Retry-After', 'X-Request-Id'],
    maxAge: 600,
  };
}

const UNREADABLE: Readonly<Record<string, number>> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 };

/**
 * Answers what never becomes a request, because it is not HTTP, too long or too slow. The answer is written to the connection
 * itself.
 */
function refuseUnreadable({ code = '' }: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status = UNREADABLE[code] ?? 400;
  const refusal = new MnemoqError('invalid_input', 'expected an HTTP request that can be read');
  const body = JSON.stringify({ ...toProblem(refusal, randomUUID()), status });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${PROBLEM_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
