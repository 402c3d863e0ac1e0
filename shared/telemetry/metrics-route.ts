/// <reference types="@fastify/swagger" />
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { collectDefaultMetrics } from 'prom-client';
import type { Metrics } from './metrics.ts';

/** Times the requests of a server, also those that no route matches. */
export function timeRequests(server: FastifyInstance, metrics: Metrics): void {
  server.addHook('onResponse', async (request, reply) => {
    // This is the pattern of the route. The path of the request would carry ids.
    const route = request.routeOptions.url ?? 'none';
    const labels = { method: request.method, route, status: String(reply.statusCode) };
    metrics.httpDuration.observe(labels, reply.elapsedTime / 1000);
  });
}

/**
 * Adds `GET /metrics`, with the figures of the process itself: memory, event loop, garbage collection. `permit` refuses a
 * request by throwing; everybody else is answered.
 */
export function addMetricsRoute(
  server: FastifyInstance,
  metrics: Metrics,
  permit: (request: FastifyRequest) => void = () => undefined,
): void {
  const { registry } = metrics;
  if (!registry.getSingleMetric('process_start_time_seconds')) collectDefaultMetrics({ register: registry });
  const onRequest = async (request: FastifyRequest) => permit(request);
  server.get('/metrics', { onRequest, schema: { hide: true } }, async (_request, reply) =>
    reply.type(registry.contentType).send(await metrics.scrape()),
  );
}
