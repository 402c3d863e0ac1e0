import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, expect, test } from '@jest/globals';
import { freePort } from '../../embedded/free-port.ts';
import { OpenApiClient } from '../support/clients/openapi-client.ts';
import { eventually } from '../support/faults/eventually.ts';
import { acceptedBy, disputes } from './support/accepted.ts';
import { npmProgram, type Running, start } from './support/programs.ts';
// The very tests of the HTTP API, with Prism between their client and the server. Their hooks and tests become ones of this file.
import '../http/operations.test.ts';
import '../http/refusals.test.ts';
import '../http/authorization.test.ts';

/** What Prism says in its header `sl-violations`. */
interface Violation {
  location: string[];
  severity: string;
  code: string | number;
  message: string;
}

function violationsIn(headers: Headers): Violation[] {
  return JSON.parse(headers.get('sl-violations') ?? '[]') as Violation[];
}

const proxies: Running[] = [];
const findings: string[] = [];
let judged = 0;

/** Prism before the API at `baseUrl`, or with the API's document before another server. */
async function startPrism(baseUrl: string, server = baseUrl): Promise<string> {
  const port = await freePort();
  const args = ['proxy', `${baseUrl}/docs/json`, server, '--port', String(port), '--host', '127.0.0.1'];
  const prism = await start(npmProgram('prism'), [...args, '--verboseLevel', 'error', '--cors', 'false']);
  proxies.push(prism);
  const url = `http://127.0.0.1:${port}`;
  await eventually(() =>
    fetch(`${url}/health/live`).then(
      () => true,
      () => false,
    ),
  );
  return url;
}

/** The first API that a client was made for: it is there until the last test has ended. */
let firstApi = '';
OpenApiClient.through = async (baseUrl) => {
  firstApi ||= baseUrl;
  return startPrism(baseUrl);
};
OpenApiClient.onAnswer = (id, { status, headers }) => {
  judged += 1;
  for (const { location, code, message } of violationsIn(headers)) {
    // A request that the document forbids is refused, and a test of refusals sends such requests on purpose.
    if (location[0] === 'request' && status >= 400) continue;
    findings.push(`${id} ${status}: ${location.join('.')} ${code} ${message}`);
  }
};

afterAll(() => Promise.all(proxies.map((proxy) => proxy.stop())));

test('Prism finds nothing in any request that was accepted, nor in any answer', () => {
  expect(judged).toBeGreaterThan(100);
  expect(disputes(findings, acceptedBy('prism'))).toEqual([]);
});

test('Prism does find an answer without what the document promises, and a parameter that it forbids', async () => {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"complete":"perhaps"}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = await startPrism(firstApi, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const { headers } = await fetch(`${url}/memory/conversations?limit=many`);
  server.close();
  const places = violationsIn(headers).map(({ location }) => location.slice(0, 2).join(' '));
  expect(places).toEqual(expect.arrayContaining(['request query', 'response body']));
});
