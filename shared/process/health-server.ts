import fastify from 'fastify';
import type { Config } from '../settings/variables.ts';
import { listen } from './listen.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { addMetricsRoute } from '../telemetry/metrics-route.ts';

export interface HealthServer {
  url: string;
  close(): Promise<void>;
}

/**
 * Answers about this process. Whoever can reach MEMORY_HEALTH_HOST and MEMORY_HEALTH_PORT may ask, without a key:
 * `GET /health/live` answers while the process runs, `GET /health/ready` with 200 or 503 and what `check` says, and
 * `GET /metrics` with the figures for Prometheus. Null where the port is 0.
 */
export async function startHealthServer(
  { healthHost, healthPort }: Pick<Config, 'healthHost' | 'healthPort'>,
  check: () => Promise<{ ready: boolean }>,
  metrics: Metrics,
): Promise<HealthServer | null> {
  if (healthPort === 0) return null;
  const server = fastify();
  server.get('/health/live', () => ({ live: true }));
  server.get('/health/ready', async (_request, reply) => {
    const health = await check();
    return reply.code(health.ready ? 200 : 503).send(health);
  });
  addMetricsRoute(server, metrics);
  const url = await listen(server, 'MEMORY_HEALTH_PORT', healthHost, healthPort);
  return { url, close: async () => server.close() };
}
