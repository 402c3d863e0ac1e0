import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What happens to a request instead of being passed on. */
export type Fault = 'hang' | 'reset' | Late | Answer;

/** It is passed on all the same, after a time or when something else has happened. */
type Late = { lateMs: number } | { until: Promise<unknown> };

interface Answer {
  status: number;
  body?: object;
  headers?: Record<string, string>;
}

export interface ProxiedRequest {
  method: string;
  /** Path and query. */
  url: string;
  body: string;
}

export interface FaultProxy {
  url: string;
  /** Decides for every request; null passes it on. */
  fault: (request: ProxiedRequest) => Fault | null;
  /** Called after the other side has answered and before the caller hears of it. */
  beforeAnswer: (request: ProxiedRequest) => Fault | null;
  /** Every request since the start, oldest first; none when they are not kept. */
  requests: ProxiedRequest[];
  stop(): Promise<void>;
}

/** An HTTP proxy in front of a real service that fails on demand: before the service sees a request, or after it has. */
export async function startFaultProxy(target: string, { keepRequests = true } = {}): Promise<FaultProxy> {
  const hanging = new Set<ServerResponse>();
  const server = createServer((incoming, outgoing) => {
    // Either side may go away in the middle of a body.
    handle(incoming, outgoing).catch(() => outgoing.destroy());
  });
  const proxy: FaultProxy = {
    url: '',
    fault: () => null,
    beforeAnswer: () => null,
    requests: [],
    async stop() {
      for (const response of hanging) response.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = Buffer.concat(await Array.fromAsync(incoming));
    const seen = { method: incoming.method ?? '', url: incoming.url ?? '', body: body.toString() };
    if (keepRequests) proxy.requests.push(seen);
    const fault = proxy.fault(seen);
    if (fault && !isLate(fault)) return fail(fault, outgoing);
    if (fault) await waitFor(fault);
    const passed = request(new URL(seen.url, target), { method: seen.method, headers: incoming.headers });
    passed.on('error', () => outgoing.destroy());
    passed.on('response', (answer) => {
      respond(answer, seen, outgoing).catch(() => outgoing.destroy());
    });
    passed.end(body);
  }

  async function respond(answer: IncomingMessage, seen: ProxiedRequest, outgoing: ServerResponse): Promise<void> {
    const body = Buffer.concat(await Array.fromAsync(answer));
    const fault = proxy.beforeAnswer(seen);
    if (fault && !isLate(fault)) return fail(fault, outgoing);
    if (fault) await waitFor(fault);
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers).end(body);
  }

  function fail(fault: Exclude<Fault, Late>, outgoing: ServerResponse): void {
    if (fault === 'hang') hanging.add(outgoing.once('close', () => hanging.delete(outgoing)));
    else if (fault === 'reset') outgoing.destroy();
    else {
      outgoing.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers });
      outgoing.end(JSON.stringify(fault.body ?? { message: `fault ${fault.status}` }));
    }
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;
}

function isLate(fault: Fault): fault is Late {
  return typeof fault === 'object' && ('lateMs' in fault || 'until' in fault);
}

async function waitFor(late: Late): Promise<void> {
  await ('until' in late ? late.until : sleep(late.lateMs));
}
