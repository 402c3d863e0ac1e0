/// <reference types="@fastify/swagger" />
import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics } from 'prom-client';
import type { Metrics } from './metrics.ts';

/**
 * Adds `GET /metrics` to a server and times the requests of all routes that are added after it. What the server asks of
 * every request before (who is asking) it asks here too.
 */
export function registerMetrics(server: FastifyInstance, metrics: Metrics): void {
  server.addHook('onResponse', async (request, reply) => {
    // The pattern: a path itself would carry ids.
    const route = request.routeOptions.url ?? 'none';
    const labels = { method: request.method, route, status: String(reply.statusCode) };
    metrics.httpDuration.observe(labels, reply.elapsedTime / 1000);
  });
  addMetricsRoute(server, metrics);
}

/** `GET /metrics` alone, with the figures of the process itself: memory, event loop, garbage collection. */
export function addMetricsRoute(server: FastifyInstance, metrics: Metrics): void {
  const { registry } = metrics;
  if (!registry.getSingleMetric('process_start_time_seconds')) collectDefaultMetrics({ register: registry });
  server.get('/metrics', { schema: { hide: true } }, async (_request, reply) =>
    reply.type(registry.contentType).send(await metrics.scrape()),
  );
}
