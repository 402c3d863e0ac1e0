import { setTimeout as sleep } from 'node:timers/promises';
import { type Attributes, context, propagation, type SpanContext, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { type ExportResult, ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Logger } from './log.ts';
import { SCOPE } from './tracing.ts';

/** What of a span is told: ids, names of queues and routes, counts and codes. Texts, results and reasons are in others. */
export const TOLD_ATTRIBUTES: readonly string[] = [
  'bullmq.queue.name',
  'bullmq.queue.operation',
  'bullmq.job.id',
  'bullmq.job.attempts.made',
  'bullmq.job.bulk.count',
  'http.request.method',
  'http.route',
  'http.response.status_code',
  'mnemoq.record.id',
  'mnemoq.module',
  'mnemoq.outcome',
  'mnemoq.cid',
  'mnemoq.flush.pending',
  'mnemoq.flush.committed',
  'mnemoq.flush.refused',
  'error.type',
];

/** What BullMQ does that is somebody's: the rest it does all the time, also while nothing happens. */
const TOLD_OPERATIONS: ReadonlySet<unknown> = new Set(['add', 'addBulk', 'process', 'fail']);

/** Spans kept for the collector, some flush batches of them; more are dropped. */
const MOST_WAITING = 8_192;
/** How long the collector may take, retries included. */
const EXPORT_MS = 5_000;
/** How long the end of the process may wait for it. */
const FLUSH_MS = 2_000;

/**
 * Sends this process's spans to an OpenTelemetry collector, until the function it gives is called. Does nothing where
 * somebody else has set OpenTelemetry up in this process. A collector that is away loses spans, and nothing else happens.
 */
export function startTraceExport(endpoint: string, serviceName: string, logger: Logger): () => Promise<void> {
  const url = `${endpoint.replace(/\/+$/, '')}/v1/traces`;
  const exporter = tellingOutages(new OTLPTraceExporter({ url, timeoutMillis: EXPORT_MS }), logger);
  const batches = new BatchSpanProcessor({ exporter, maxQueueSize: MOST_WAITING, exportTimeoutMillis: EXPORT_MS });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': serviceName }), // not the host, nor the command line
    spanProcessors: [onlyWhatMayBeTold(batches)],
    spanLimits: { attributeValueLengthLimit: 256 },
  });
  if (!trace.setGlobalTracerProvider(provider)) return async () => provider.shutdown();
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  return async () => {
    const sent = provider.shutdown().catch(() => undefined); // the exporter has told
    await Promise.race([sent, sleep(FLUSH_MS, null, { ref: false })]);
    for (const api of [trace, context, propagation]) api.disable();
  };
}

/** In front of the queue, so that what is not told takes no place in it. */
function onlyWhatMayBeTold(next: SpanProcessor): SpanProcessor {
  return {
    onStart: () => undefined,
    onEnd(span) {
      const { instrumentationScope, attributes } = span;
      const operation = attributes['bullmq.queue.operation'];
      if (instrumentationScope.name !== SCOPE) return;
      if (operation === undefined || TOLD_OPERATIONS.has(operation)) next.onEnd(redact(span));
    },
    forceFlush: async () => next.forceFlush(),
    shutdown: async () => next.shutdown(),
  };
}

/** Events and the words of a status are left out: BullMQ puts results, reasons and messages of errors there. */
function redact(span: ReadableSpan): ReadableSpan {
  const { name, kind, startTime, endTime, duration, ended, resource, instrumentationScope, parentSpanContext } = span;
  const spanContext = plain(span.spanContext());
  return {
    name,
    kind,
    spanContext: () => spanContext,
    ...(parentSpanContext && { parentSpanContext: plain(parentSpanContext) }),
    startTime,
    endTime,
    duration,
    ended,
    status: { code: span.status.code },
    attributes: told(span.attributes),
    links: span.links.map((link) => ({ context: plain(link.context) })),
    events: [],
    resource,
    instrumentationScope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

/** Without the trace state, which is anything a caller likes to send. */
function plain({ traceId, spanId, traceFlags, isRemote = false }: SpanContext): SpanContext {
  return { traceId, spanId, traceFlags, isRemote };
}

function told(attributes: Attributes): Attributes {
  return Object.fromEntries(
    TOLD_ATTRIBUTES.filter((name) => name in attributes).map((name) => [name, attributes[name]]),
  );
}

/** Says once that the collector does not take spans, and once that it takes them again. */
function tellingOutages(exporter: SpanExporter, logger: Logger): SpanExporter {
  let away = false;
  const tell = ({ code, error }: ExportResult) => {
    const failed = code !== ExportResultCode.SUCCESS;
    if (failed === away) return;
    away = failed;
    const reason = error && 'code' in error ? error.code : error?.name;
    if (failed) logger.warn({ reason }, 'OTEL_EXPORTER_OTLP_ENDPOINT takes no spans; they are dropped');
    else logger.info('OTEL_EXPORTER_OTLP_ENDPOINT takes spans again');
  };
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        tell(result);
        done(result);
      }),
    shutdown: async () => exporter.shutdown(),
  };
}
