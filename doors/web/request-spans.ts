import { context, propagation, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { SCOPE } from '../../shared/telemetry/tracing.ts';

/**
 * Makes a span for each request to the routes that are added to `server` after this. The span belongs to the trace that the
 * caller names in `traceparent`, and it is the active one while the request is answered. This is called after the guard was
 * added, so that requests of strangers are not traced.
 */
export function traceRequests(server: FastifyInstance): void {
  if (propagation.fields().length === 0) return; // tracing is not switched on
  const spans = new WeakMap<FastifyRequest, Span>();
  server.addHook('onRequest', async (request) => {
    const { method, headers } = request;
    const route = request.routeOptions.url ?? 'none'; // the pattern, because a path contains ids and a query contains more
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
  // The context would be lost while the body is read, so it begins after that.
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
