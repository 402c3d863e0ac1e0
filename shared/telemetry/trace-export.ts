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

/** The attributes of a span that are told: ids, names of queues and routes, counts, codes. Others carry texts and results. */
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
  'mnemoq.flush.flushed',
  'mnemoq.flush.failed',
  'error.type',
];

/** The operations of BullMQ that belong to a job of somebody. All others go on all the time, also while nothing happens. */
const TOLD_OPERATIONS: ReadonlySet<unknown> = new Set(['add', 'addBulk', 'process', 'fail']);

/** How many spans are kept for the collector: those of some batches of a flush. More are dropped. */
const MOST_WAITING = 8_192;
/** How long the collector may take, retries included. */
const EXPORT_MS = 5_000;
/** How long the end of the process may wait for the collector. */
const FLUSH_MS = 2_000;

/**
 * Sends the spans of this process to an OpenTelemetry collector, until the function that it gives is called. Does nothing where
 * somebody else has set OpenTelemetry up in this process. While the collector is away spans are lost, and nothing else happens.
 */
export function startTraceExport(endpoint: string, serviceName: string, logger: Logger): () => Promise<void> {
  const url = `${endpoint.replace(/\/+$/, '')}/v1/traces`;
  const exporter = tellingOutages(new OTLPTraceExporter({ url, timeoutMillis: EXPORT_MS }), logger);
  const batches = new BatchSpanProcessor({ exporter, maxQueueSize: MOST_WAITING, exportTimeoutMillis: EXPORT_MS });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': serviceName }), // neither the host nor the command line
    spanProcessors: [onlyWhatMayBeTold(batches)],
    spanLimits: { attributeValueLengthLimit: 256 },
  });
  if (!trace.setGlobalTracerProvider(provider)) return async () => provider.shutdown();
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  return async () => {
    const sent = provider.shutdown().catch(() => undefined); // the exporter has told of the failure already
    await Promise.race([sent, sleep(FLUSH_MS, null, { ref: false })]);
    for (const api of [trace, context, propagation]) api.disable();
  };
}

/** Stands in front of the queue of spans, so that what is not told takes no place in the queue. */
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

/** Leaves out the events and the words of a status, because BullMQ puts results, reasons and messages of errors there. */
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

/** Leaves out the trace state, which may be anything that a caller sends. */
function plain({ traceId, spanId, traceFlags, isRemote = false }: SpanContext): SpanContext {
  return { traceId, spanId, traceFlags, isRemote };
}

function told(attributes: Attributes): Attributes {
  return Object.fromEntries(
    TOLD_ATTRIBUTES.filter((name) => name in attributes).map((name) => [name, attributes[name]]),
  );
}

/** Says once that the collector takes no spans, and once that it takes them again. */
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
