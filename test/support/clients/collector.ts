import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface CollectedSpan {
  service: string;
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId: string;
  /** 2 is an error. */
  status: number;
  attributes: Record<string, unknown>;
  links: { traceId: string; spanId: string }[];
}

export interface Collector {
  url: string;
  connections: number;
  /** Everything that came, headers included, as it came. */
  raw: string;
  spans: CollectedSpan[];
  stop(): Promise<void>;
}

interface Otlp {
  resourceSpans: {
    resource: { attributes: Attribute[] };
    scopeSpans: { spans: OtlpSpan[] }[];
  }[];
}
/** Links, and the parent, are left out where there are none. */
interface OtlpSpan extends Pick<CollectedSpan, 'name' | 'traceId' | 'spanId'> {
  parentSpanId?: string;
  links?: CollectedSpan['links'];
  attributes: Attribute[];
  status: { code: number };
}
interface Attribute {
  key: string;
  value: Record<string, unknown>;
}

/** A collector that takes OTLP as JSON over HTTP and keeps all of it; `mute` never answers. */
export async function startCollector({ mute = false } = {}): Promise<Collector> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      collector.raw += `${request.url} ${request.rawHeaders.join(' ')}\n${body}\n`;
      collector.spans.push(...spansOf(JSON.parse(body) as Otlp));
      if (!mute) response.setHeader('content-type', 'application/json').end('{}');
    });
  });
  server.on('connection', () => (collector.connections += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: 0,
    raw: '',
    spans: [],
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return collector;
}

function spansOf({ resourceSpans }: Otlp): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(toObject(resource.attributes)['service.name']);
    return scopeSpans.flatMap(({ spans }) =>
      spans.map(({ attributes, status, parentSpanId = '', links = [], ...span }) => ({
        ...span,
        service,
        parentSpanId,
        links,
        status: status.code,
        attributes: toObject(attributes),
      })),
    );
  });
}

function toObject(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
