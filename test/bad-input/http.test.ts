import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { freePort } from '../../embedded/free-port.ts';
import { type Dashboard, startDashboard } from '../../doors/dashboard/dashboard.ts';
import { MARKER } from '../support/inputs/bad-values.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
let dashboard: Dashboard;
let healthUrl: string;
let authorization: string;
beforeAll(async () => {
  stack = await startStack({
    environment: { MEMORY_DASHBOARD_PORT: '0', MEMORY_HEALTH_PORT: String(await freePort()) },
  });
  const [worker] = await stack.startWorkers('chat');
  healthUrl = worker?.healthUrl ?? '';
  dashboard = await startDashboard({ ...stack.environment, MEMORY_HEALTH_PORT: '0' });
  authorization = `Basic ${Buffer.from(stack.environment['MEMORY_API_KEYS'] ?? '').toString('base64')}`;
  await stack.queue('chat').add('chat', { userMessage: MARKER });
  await stack.idle('chat');
});
afterAll(async () => {
  await dashboard.stop();
  await stack.stop();
});

/** Bytes over a connection, as no client would send them; gives the whole answer. */
async function say(url: string, request: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('error', () => undefined); // it may be closed before everything is sent
  socket.setEncoding('latin1').on('data', (part: string) => (answer += part));
  socket.write(request, 'latin1');
  await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}

const asked = (target: string, method = 'GET', more = '') =>
  `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ${authorization}\r\n${more}\r\n`;

/** What is asked of both, and the statuses that will do; none of them is a failure of the server. */
const REQUESTS: [name: string, request: () => string, statuses: RegExp][] = [
  ['a path nobody knows', () => asked('/nothing'), /404/],
  ['a path out of the folder', () => asked('/queues/static/../../../../etc/passwd'), /40[034]/],
  ['the same encoded', () => asked('/queues/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd'), /40[034]/],
  ['a broken percent sign', () => asked('/queues/api/%zz'), /40[034]/],
  ['an encoded NUL', () => asked('/queues/static/%00'), /40[034]/],
  ['an encoded line break', () => asked('/%0d%0aSet-Cookie:%20a=b'), /404/],
  ['a path of prototypes', () => asked('/__proto__'), /404/],
  ['a path of 20 kB', () => asked(`/${'x'.repeat(20_000)}`), /4(14|31)/],
  ['headers of 20 kB', () => asked('/nothing', 'GET', `X: ${'x'.repeat(20_000)}\r\n`), /431/],
  ['a method nobody knows', () => asked('/', 'BREW'), /400/],
  ['a method for nothing', () => asked('/health/live', 'DELETE'), /40[345]/],
  [
    'a body that is no JSON',
    () => `${asked('/nothing', 'POST', 'Content-Type: application/json\r\nContent-Length: 1\r\n')}{`,
    /40[034]/,
  ],
  ['a wrong length', () => asked('/nothing', 'POST', 'Content-Length: -1\r\n'), /400/],
  ['two lengths', () => asked('/nothing', 'POST', 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n'), /400/],
  ['no HTTP', () => `${MARKER}\r\n\r\n`, /400/],
];
const both = REQUESTS.flatMap(([name, request, statuses]) =>
  (['dashboard', 'health server'] as const).map((door) => [door, name, request, statuses] as const),
);

test.each(both)(
  'the %s answers %s with a refusal, and the next one as ever',
  async (door, _name, request, statuses) => {
    const before = (await stack.client.keys('*')).length;
    const answer = await say(door === 'dashboard' ? dashboard.url : healthUrl, request());
    expect(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]).toMatch(statuses);
    expect(answer).not.toMatch(/^set-cookie/im);
    expect(answer).not.toMatch(/root:|\n\s+at |node_modules/);
    expect(answer).not.toContain(MARKER);
    expect((await fetch(`${healthUrl}/health/live`)).status).toBe(200);
    expect((await fetch(`${dashboard.url}/queues/api/queues`, { headers: { authorization } })).status).toBe(200);
    expect(await stack.client.keys('*')).toHaveLength(before);
  },
);

test.each([
  '/queues/api/queues/__proto__',
  '/queues/api/queues/constructor/1',
  '/queues/api/queues/chat/__proto__',
  `/queues/api/queues/chat/${encodeURIComponent('*')}`,
  `/queues/api/queues/chat/${encodeURIComponent('../../etc/passwd')}`,
  `/queues/api/queues/chat/${encodeURIComponent('1\r\nFLUSHALL\r\n')}`,
  '/queues/api/queues?activeQueue=__proto__&status=failed&page=1&jobsPerPage=10',
  '/queues/api/queues?activeQueue=chat&status=toString&page=1&jobsPerPage=10',
  '/queues/api/queues?activeQueue=chat&status=failed&page=-1&jobsPerPage=1000000000',
  '/queues/api/queues?activeQueue=chat&status=failed&page=NaN&jobsPerPage=many',
  '/queues/api/queues?activeQueue[]=chat&activeQueue[]=flush&status[x]=1',
])('the dashboard answers %s without text, and goes on', async (target) => {
  const response = await fetch(new URL(target, dashboard.url), { headers: { authorization } });
  const answer = await response.text();
  expect(answer).not.toContain(MARKER);
  expect(answer).not.toMatch(/\n\s+at /);
  expect((await fetch(`${dashboard.url}/queues/api/queues`, { headers: { authorization } })).status).toBe(200);
  expect(await stack.queue('chat').getFailedCount()).toBe(1);
});
