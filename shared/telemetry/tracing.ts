import {
  type Attributes,
  context,
  type Context,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  SpanStatusCode,
  trace,
  TraceFlags,
} from '@opentelemetry/api';
import type { Telemetry } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';
import { MnemoqError } from '../errors.ts';

/** The instrumentation scope of every span of Mnemoq, those of BullMQ included. */
export const SCOPE = 'mnemoq';

/** For jobs that belong to no single trace: a flush carries the records of many traces, so it begins a trace of its own. */
export const OWN_TRACE = { telemetry: { omitContext: true } } as const;

const tracer = () => trace.getTracer(SCOPE);

/**
 * The options that make a Queue or a Worker take part in traces. There are none where nothing in this process could carry a
 * trace on, which is so unless the process was started with OTEL_EXPORTER_OTLP_ENDPOINT or the application has set
 * OpenTelemetry up before.
 */
export function queueTelemetry(): { telemetry?: Telemetry } {
  if (propagation.fields().length === 0) return {};
  const { tracer, contextManager } = new BullMQOtel({ tracerName: SCOPE });
  const fromMetadata = contextManager.fromMetadata.bind(contextManager);
  const tolerant = Object.assign(contextManager, {
    // Any client may have added the job, with anything in its metadata. BullMQ does not catch what is thrown here, and the job
    // would stay active.
    fromMetadata: (active: Context, metadata: string) => {
      try {
        return fromMetadata(active, metadata);
      } catch {
        return active;
      }
    },
    // BullMQ asks for this function, and bullmq-otel 2.0.1 lacks it. Without it the loops of a worker would belong to the span
    // that was active when they were first run.
    root: () => ROOT_CONTEXT,
  });
  return { telemetry: { tracer, contextManager: tolerant } };
}

/** The active span in the form of W3C Trace Context, for a record to take along; empty where there is no span to go on with. */
export function activeTraceparent(): string {
  const span = activeSpan();
  if (!span || (span.traceFlags & TraceFlags.SAMPLED) === 0) return '';
  return `00-${span.traceId}-${span.spanId}-01`;
}

/** The ids by which a line of the log is found from its trace, and the trace from the line. */
export function activeIds(): { trace_id: string; span_id: string } | null {
  const span = activeSpan();
  return span && { trace_id: span.traceId, span_id: span.spanId };
}

/** Does the work in a span of its own. Of an error that ends the work the span tells the code alone. */
export async function inSpan<T>(name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
  return tracer().startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttribute('error.type', error instanceof MnemoqError ? error.code : 'error');
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Does the work as part of the trace that a record brought along. It may be another trace than that of this job. */
export function inTraceOf<T>(traceparent: string | undefined, work: () => T): T {
  const origin = parseTraceparent(traceparent);
  return origin ? context.with(trace.setSpanContext(ROOT_CONTEXT, origin), work) : work();
}

/**
 * Adds a span to the trace that a record brought along. The span began at `start` (in ms), ends now, and is linked to the job
 * that did the work. Does nothing for a record without a trace.
 */
export function addSpan(traceparent: string | undefined, name: string, start: number, attributes: Attributes): void {
  const origin = parseTraceparent(traceparent);
  if (!origin) return;
  const doing = activeSpan();
  const links = doing && doing.traceId !== origin.traceId ? [{ context: doing }] : [];
  const options = { startTime: start, attributes, links };
  tracer().startSpan(name, options, trace.setSpanContext(ROOT_CONTEXT, origin)).end();
}

/** Adds attributes to the active span, if there is one. With `failed` the span also tells that its work went wrong. */
export function describeSpan(attributes: Attributes, failed = false): void {
  const span = trace.getActiveSpan();
  span?.setAttributes(attributes);
  if (failed) span?.setStatus({ code: SpanStatusCode.ERROR });
}

function activeSpan(): SpanContext | null {
  const span = trace.getSpanContext(context.active());
  return span && isSpanContextValid(span) ? span : null;
}

function parseTraceparent(text = ''): SpanContext | null {
  const [, traceId = '', spanId = '', flags = ''] = /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/.exec(text) ?? [];
  const origin = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return isSpanContextValid(origin) ? origin : null;
}
