import { context, propagation, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { SCOPE } from '../../shared/telemetry/tracing.ts';

/**
 * Gives each request to the routes added to `server` after this a span, as part of the trace the caller names in
 * `traceparent`, and makes it the active one where the request is answered. Called after the guard: a stranger is not traced.
 */
export function traceRequests(server: FastifyInstance): void {
  if (propagation.fields().length === 0) return; // nobody listens
  const spans = new WeakMap<FastifyRequest, Span>();
  server.addHook('onRequest', async (request) => {
    const { method, headers } = request;
    const route = request.routeOptions.url ?? 'none'; // the pattern: a path carries ids, a query more
    const { traceparent } = headers;
    const span = trace
      .getTracer(SCOPE)
      .startSpan(
        `${method} ${route}`,
        { kind: SpanKind.SERVER, attributes: { 'http.request.method': method, 'http.route': route } },
        propagation.extract(ROOT_CONTEXT, { traceparent }),
      );
    spans.set(request, span);
  });
  // Reading a body loses the context, so it begins after that.
  server.addHook('preValidation', (request, _reply, done) => {
    const span = spans.get(request);
    if (span) context.with(trace.setSpan(ROOT_CONTEXT, span), done);
    else done();
  });
  server.addHook('onResponse', async (request, { statusCode }) => {
    const span = spans.get(request);
    span?.setAttribute('http.response.status_code', statusCode);
    if (statusCode >= 500) span?.setStatus({ code: SpanStatusCode.ERROR });
    span?.end();
  });
}
