import { type AuthInfo, createMcpHandler } from '@modelcontextprotocol/server';
import { toNodeHandler } from '@modelcontextprotocol/node';
import cors from '@fastify/cors';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { Config } from '../../shared/settings/variables.ts';
import { type Environment, loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { type HealthServer, startHealthServer } from '../../shared/process/health-server.ts';
import { listen } from '../../shared/process/listen.ts';
import { createLogger } from '../../shared/telemetry/log.ts';
import { Authenticator, type Caller, requireKeysBeyondLoopback } from '../web/auth.ts';
import { callerOf, guard } from '../web/guard.ts';
import { addHealthRoutes, readinessOf } from '../http/routes/health-routes.ts';
import { FOR_USERS } from '../web/permission.ts';
import { sendNotFound, sendProblem } from '../web/problem.ts';
import { traceRequests } from '../web/request-spans.ts';
import { TURN_BYTES } from '../web/turn-bytes.ts';
import { compileSerializer } from '../web/validation.ts';
import { MemoryCore } from '../../producers/index.ts';
import { createMemoryServer } from './memory-server.ts';

export interface McpDoor {
  url: string;
  /** True where no keys are configured. Then everybody on this machine gets in, and nobody else. */
  open: boolean;
  /** Reads the API keys again, from the environment that `read` returns. */
  reloadKeys(read: () => Environment): void;
  /** Takes no more requests, lets those that were begun finish within MEMORY_SHUTDOWN_TIMEOUT_MS, and closes all connections. */
  stop(): Promise<void>;
}

/**
 * Starts what `mnemoq mcp --http` offers: streamable HTTP at `/mcp` on MEMORY_MCP_HOST (loopback) and MEMORY_MCP_PORT. It keeps
 * no sessions, so any number of processes may stand behind one address, and nothing is lost when one of them is killed.
 */
export async function startMcpHttp(environment: Environment, version: string): Promise<McpDoor> {
  const config = loadConfig(environment, STORE_SETTINGS);
  requireKeysBeyondLoopback(config, 'MEMORY_MCP_HOST', config.mcpHost);
  const logger = createLogger(config.logLevel, 'mnemoq-mcp');
  const authenticator = new Authenticator(config);
  const memory = new MemoryCore(environment);
  const handler = createMcpHandler(
    ({ authInfo }) => createMemoryServer({ memory, logger, caller: callerIn(authInfo) }, version),
    {
      maxRequestBodySize: TURN_BYTES,
      // Mnemoq announces no changes over MCP, and an open stream on which nothing is sent would delay the end of the process.
      maxSubscriptions: 0,
      onerror: (error) => logger.debug({ reason: error.message }, 'not answered as asked'),
    },
  );
  const answer = toNodeHandler(handler, { maxRequestBodySize: TURN_BYTES });
  const server = fastify({ forceCloseConnections: 'idle', return503OnClosing: false });
  let health: HealthServer | null = null;
  let stopping = false;
  const stop = async () => {
    stopping = true;
    const deadline = setTimeout(() => server.server.closeAllConnections(), config.shutdownTimeoutMs);
    await server.close();
    clearTimeout(deadline);
    await health?.close();
    await handler.close();
    await memory.close();
  };
  try {
    server.setSerializerCompiler(compileSerializer);
    server.setErrorHandler(sendProblem);
    server.setNotFoundHandler(sendNotFound);
    addHealthRoutes(server, memory);
    await server.register(async (guarded) => {
      await lock(guarded, authenticator, config);
      guarded.all('/mcp', FOR_USERS, async (request, reply) => {
        reply.hijack();
        // A connection that is kept open for more requests would delay the end of the process until it times out.
        reply.raw.once('close', () => stopping && request.raw.socket.end());
        const asked = Object.assign(request.raw, { auth: authInfoOf(callerOf(request)) });
        await answer(asked as typeof asked & { method: string; url: string }, reply.raw);
      });
    });
    health = await startHealthServer(config, async () => readinessOf(memory), memory.metrics);
    const base = await listen(server, 'MEMORY_MCP_PORT', config.mcpHost, config.mcpPort);
    return {
      url: `${base}/mcp`,
      open: authenticator.open,
      reloadKeys: (read) => authenticator.reload(read, logger),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Lets only known callers reach the routes that are added to `server` after this. */
async function lock(server: FastifyInstance, authenticator: Authenticator, config: Config): Promise<void> {
  // The SDK reads the body itself, with its own limits and answers.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (_request, _body, done) => done(null));
  server.addHook('onRequest', async (request) => refuseForeignPage(request, config.corsOrigins));
  if (config.corsOrigins) await server.register(cors, { origin: config.corsOrigins, methods: ['POST'], maxAge: 600 });
  await guard(server, { authenticator, config });
  traceRequests(server);
}

/**
 * Refuses requests of web pages whose origin is not in MEMORY_CORS_ORIGINS. The specification of MCP asks for that also where
 * keys are configured.
 */
function refuseForeignPage({ headers }: FastifyRequest, allowed: readonly string[] = []): void {
  const { origin, host } = headers;
  if (origin === undefined || allowed.includes(origin) || URL.parse(origin)?.host === host) return;
  throw new MnemoqError('forbidden', 'no page of another origin is answered');
}

/** The SDK expects what OAuth knows about a caller. Mnemoq has found out already who is asking and passes that on in `extra`. */
function authInfoOf(caller: Caller): AuthInfo {
  return { token: '', clientId: caller.name, scopes: [], extra: { caller } };
}

function callerIn(authInfo: AuthInfo | undefined): Caller {
  const caller = authInfo?.extra?.['caller'] as Caller | undefined;
  if (!caller) throw new MnemoqError('forbidden', 'who is asking is not known');
  return caller;
}
