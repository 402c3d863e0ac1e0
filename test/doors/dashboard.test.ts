import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { type Dashboard, startDashboard } from '../../doors/dashboard/dashboard.ts';
import { type QueueName, QUEUES } from '../../shared/queues.ts';
import { launchChromium } from '../support/clients/chromium.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn } from '../support/inputs/turns.ts';

const MARKER = 'SECRET-TEXT-5d1c';

let stack: Stack;
let dashboard: Dashboard;
let authorization: string;
const jobIds: Record<string, string> = {};

beforeAll(async () => {
  stack = await startStack({ environment: { MEMORY_DASHBOARD_PORT: '0', MEMORY_TEXT_CACHE: 'plain' } });
  const contextId = stack.newContextId();
  // Any BullMQ client may add jobs, also with a field nobody has heard of.
  const texts = { userMessage: MARKER, assistantMessage: MARKER, userMesage: MARKER, more: [{ text: MARKER }] };
  const bad = { ...turn(contextId, 1), ...texts, id: 'not a uuid' };
  jobIds['chat'] = (await stack.queue('chat').add('chat', bad)).id ?? '';
  await stack.startWorkers('chat');
  await stack.idle('chat');
  const reflection = { id: 'x', contextId, reflectionText: MARKER, visibility: 'private', createdAt: 'now' };
  jobIds['reflection'] = (await stack.queue('reflection').add('reflection', reflection)).id ?? '';
  jobIds['flush'] = (await stack.queue('flush').add('flush', { reason: 'on-demand', note: MARKER })).id ?? '';
  const row = { id: 'x', context_id: contextId, text_cache: MARKER, tokens: { text: [MARKER] }, text: MARKER };
  jobIds['quarantine'] =
    (await stack.queue('quarantine').add('quarantine', { row, error: { code: '22021', message: 'no' } })).id ?? '';
  dashboard = await startDashboard(stack.environment);
  authorization = `Basic ${Buffer.from(stack.environment['MEMORY_API_KEYS'] ?? '').toString('base64')}`;
});
afterAll(async () => {
  await dashboard.stop();
  await stack.stop();
});

async function ask(
  pathname: string,
  method = 'GET',
  headers: Record<string, string> = { authorization },
  body?: string,
) {
  const init = { method, headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) } };
  const response = await fetch(new URL(pathname, dashboard.url), body === undefined ? init : { ...init, body });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

describe('the dashboard', () => {
  test('listens on loopback and asks who is there', async () => {
    expect(dashboard.url).toMatch(/^http:\/\/127\.0\.0\.1:/);
    const strangers = [
      undefined,
      'Basic dGVzdGVyOndyb25n',
      `Basic ${Buffer.from('tester:').toString('base64')}`,
      'Bearer x',
    ];
    for (const stranger of strangers) {
      for (const pathname of [
        '/',
        '/queues/',
        '/queues/api/queues',
        '/queues/static/whatever.js',
        '/page/app.js',
        '/memory/stats',
      ]) {
        const answer = await ask(pathname, 'GET', stranger === undefined ? {} : { authorization: stranger });
        expect([pathname, answer.status, answer.headers.get('www-authenticate')]).toEqual([
          pathname,
          401,
          expect.stringContaining('Basic'),
        ]);
      }
    }
    expect((await ask('/')).status).toBe(200);
  });

  test('does not start without keys', async () => {
    const { MEMORY_API_KEYS: _none, ...without } = stack.environment;
    await expect(startDashboard(without)).rejects.toMatchObject({
      code: 'invalid_configuration',
      message: expect.stringContaining('MEMORY_API_KEYS'),
    });
  });

  test('shows all queues and their jobs, and no text in any of its answers', async () => {
    const pages = [
      '/queues/',
      ...['/api/queues', '/api/job-schedulers', '/api/redis/stats'].map((each) => `/queues${each}`),
    ];
    for (const name of QUEUES) {
      pages.push(...['metrics', 'workers', 'default-job-options'].map((what) => `/queues/api/queues/${name}/${what}`));
      for (const status of ['latest', 'failed', 'waiting', 'active', 'completed']) {
        pages.push(`/queues/api/queues?activeQueue=${name}&status=${status}&page=1&jobsPerPage=10`);
      }
      if (jobIds[name] !== undefined) {
        pages.push(...['', '/logs', '/flow'].map((what) => `/queues/api/queues/${name}/${jobIds[name]}${what}`));
      }
    }
    let seen = '';
    for (const page of pages) {
      const { status, text } = await ask(page);
      expect([page, status, text.includes(MARKER)]).toEqual([page, 200, false]);
      seen += text;
    }
    expect(seen).toContain(`[${MARKER.length} characters]`);
    for (const name of QUEUES) expect(seen).toContain(`"${name}"`);
  });

  test('retries a job, and refuses to change, add or remove one', async () => {
    const id = jobIds['chat'] ?? '';
    const before = await stack.queue('chat').getJob(id);
    const counts = await stack.queue('chat').getJobCounts();
    const refused: [string, string][] = [
      ['PATCH', `/queues/api/queues/chat/${id}/update-data`],
      ['PUT', `/queues/api/queues/chat/${id}/clean`],
      ['PUT', '/queues/api/queues/chat/clean/failed'],
      ['PUT', '/queues/api/queues/chat/empty'],
      ['PUT', '/queues/api/queues/chat/obliterate'],
      ['POST', '/queues/api/queues/chat/add'],
      ['PUT', '/queues/api/queues/flush/job-schedulers/flush/remove'],
      ['PUT', '/queues/api/queues/flush/job-schedulers/flush/run'],
      ['PATCH', `/queues/api/queues/chat/${id}/delay`],
      ['PUT', '/queues/api/queues/chat/concurrency'],
      ['PUT', '/queues/api/queues/chat/rate-limit'],
      ['PUT', '/queues/api/queues/chat/pause/'],
      ['DELETE', '/queues/api/queues/chat'],
    ];
    for (const [method, pathname] of refused) {
      const answer = await ask(pathname, method, { authorization }, '{"jobData":{}}');
      expect([pathname, answer.status]).toEqual([pathname, 403]);
    }
    expect(await stack.queue('chat').getJobCounts()).toEqual(counts);
    expect((await stack.queue('chat').getJob(id))?.data).toEqual(before?.data);
    expect((await ask(`/queues/api/queues/chat/${id}/retry`, 'PUT')).status).toBeLessThan(300);
    await stack.idle('chat');
    expect((await stack.queue('chat').getJob(id))?.attemptsStarted).toBe(2);
  });

  test('pauses and resumes a queue, and the statistics say which one is paused', async () => {
    const stats = async () => JSON.parse((await ask('/memory/stats')).text) as object;
    expect((await ask('/queues/api/queues/chat/pause', 'PUT')).status).toBe(200);
    expect(await stack.queue('chat').isPaused()).toBe(true);
    expect(await stats()).toMatchObject({
      status: 'degraded',
      paused_queues: ['chat'],
      reasons: expect.arrayContaining([expect.stringMatching(/^queue chat is paused/)]),
    });
    expect((await ask('/queues/api/queues/pause', 'PUT')).status).toBe(200);
    expect(await stats()).toMatchObject({ status: 'degraded', paused_queues: QUEUES });
    expect((await ask('/queues/api/queues/resume', 'PUT')).status).toBe(200);
    expect(await stack.queue('chat').isPaused()).toBe(false);
    expect(await stats()).toMatchObject({ paused_queues: [] });
  });

  test('names the variable when its port is taken', async () => {
    const environment = { ...stack.environment, MEMORY_DASHBOARD_PORT: new URL(dashboard.url).port };
    await expect(startDashboard(environment)).rejects.toMatchObject({
      code: 'invalid_configuration',
      message: expect.stringMatching(/^MEMORY_DASHBOARD_PORT: expected a free port, 127\.0\.0\.1:\d+ is in use$/),
    });
  });
});

test('takes nothing that another site makes a browser send, and no frame of it', async () => {
  const id = jobIds['chat'] ?? '';
  const { host } = new URL(dashboard.url);
  const from = (headers: Record<string, string>) =>
    ask(`/queues/api/queues/chat/${id}/retry`, 'PUT', { authorization, ...headers });
  for (const headers of [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'http://elsewhere.example' },
    { origin: 'null' },
  ]) {
    expect([headers, await from(headers)]).toMatchObject([headers, { status: 403 }]);
    expect((await ask('/memory/flush', 'POST', { authorization, ...headers }, '{}')).status).toBe(403);
  }
  expect((await stack.queue('chat').getJob(id))?.attemptsStarted).toBe(2);
  expect((await from({ 'sec-fetch-site': 'same-origin', origin: `http://${host}` })).status).toBe(204);
  await stack.idle('chat');
  for (const pathname of ['/', '/queues/', '/queues/api/queues', '/memory/stats']) {
    const { headers } = await ask(pathname);
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect(headers.get('access-control-allow-origin')).toBeNull();
  }
});

test('has of the API what reads, and a flush', async () => {
  for (const [method, pathname] of [
    ['POST', '/memory/chat'],
    ['POST', '/memory/reflection'],
    ['DELETE', '/memory/users/user-1'],
    ['DELETE', '/memory/context/c'],
  ] as const) {
    expect([pathname, (await ask(pathname, method, { authorization }, '{}')).status]).toEqual([pathname, 403]);
  }
  expect((await ask('/memory/stats')).status).toBe(200);
});

describe('with other settings', () => {
  async function dashboardWith(environment: Record<string, string | undefined>): Promise<Dashboard> {
    return startDashboard({ ...stack.environment, ...environment });
  }

  test('it only shows when it is read-only', async () => {
    const quiet = await dashboardWith({ MEMORY_DASHBOARD_READ_ONLY: 'true' });
    try {
      const at = (pathname: string, method = 'GET') =>
        fetch(quiet.url + pathname, { method, headers: { authorization } });
      for (const action of ['pause', 'chat/pause', 'chat/retry/failed', `chat/${jobIds['chat']}/retry`]) {
        expect([action, (await at(`/queues/api/queues/${action}`, 'PUT')).status]).toEqual([action, 403]);
      }
      expect((await at('/memory/flush', 'POST')).status).toBe(403);
      const board = (await (await at('/queues/api/queues')).json()) as { queues: { readOnlyMode: boolean }[] };
      expect(board.queues.map(({ readOnlyMode }) => readOnlyMode)).toEqual(QUEUES.map(() => true));
      expect(await (await at('/page/of/caller')).json()).toMatchObject({ read_only: true });
    } finally {
      await quiet.stop();
    }
  });

  test('it shows the texts in jobs when it is told to', async () => {
    const open = await dashboardWith({ MEMORY_DASHBOARD_SHOW_TEXT: 'true' });
    try {
      const response = await fetch(`${open.url}/queues/api/queues/chat/${jobIds['chat']}`, {
        headers: { authorization },
      });
      expect(await response.text()).toContain(MARKER);
    } finally {
      await open.stop();
    }
  });

  test('without Supabase there are only the queues, and the page leads to them', async () => {
    const few = await dashboardWith({
      SUPABASE_URL: undefined,
      SUPABASE_SERVICE_ROLE_KEY: undefined,
      MEMORY_ENCRYPTION_KEYS: undefined,
      IPFS_API_URL: undefined,
    });
    try {
      const response = await fetch(few.url, { headers: { authorization } });
      expect([response.status, new URL(response.url).pathname]).toEqual([200, '/queues/']);
      expect((await fetch(`${few.url}/memory/stats`, { headers: { authorization } })).status).toBe(404);
      expect((await fetch(few.url)).status).toBe(401);
    } finally {
      await few.stop();
    }
  });
});

describe('retried on the board', () => {
  async function retry(queue: QueueName, id: string): Promise<void> {
    expect((await ask(`/queues/api/queues/${queue}/${id}/retry`, 'PUT')).status).toBe(204);
  }

  test('a quarantined row is committed once it is mended, and goes back until then', async () => {
    const contextId = stack.newContextId();
    const { id } = await stack.memory.saveChat(turn(contextId, 1), { wait: true });
    const key = `memory:conversation:${contextId}`;
    const cached = JSON.parse((await stack.client.hget(key, id)) ?? '{}');
    await stack.client.hset(key, id, JSON.stringify({ ...cached, textCache: 'NUL: \0' }));
    await stack.startWorkers('flush');
    expect(await stack.memory.flushRedisToSupabase()).toMatchObject({ failedCount: 1 });
    const quarantined = async (attempts: number) => {
      const job = await stack.queue('quarantine').getJob(id);
      return job && job.attemptsStarted === attempts && (await job.isFailed()) ? job : null;
    };
    const job = await eventually(() => quarantined(1));
    await retry('quarantine', id);
    await eventually(() => quarantined(2));
    await job?.updateData({ ...job.data, row: { ...job.data.row, text_cache: 'mended' } });
    await retry('quarantine', id);
    await eventually(async () => (await stack.memory.getStatus(id)).status === 'committed');
    expect((await stack.memory.getMemoryContext(contextId)).items).toMatchObject([{ id }]);
  });

  test('a failed turn is cached once its job is mended', async () => {
    const contextId = stack.newContextId();
    const good = { ...turn(contextId, 1), id: randomUUID() };
    const job = await stack.queue('chat').add('chat', { ...good, userId: 7 }, { jobId: good.id });
    await eventually(async () => job.isFailed());
    await job.updateData(good);
    await retry('chat', good.id);
    await eventually(async () => (await stack.queue('chat').getJobState(good.id)) === 'completed');
    expect((await stack.memory.getMemoryContext(contextId)).items).toMatchObject([{ id: good.id }]);
  });
});

describe('in a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser.close();
  });

  test('the board opens with the secret, names its queues, and shows a failed job without its text', async () => {
    const [username = '', password = ''] = (stack.environment['MEMORY_API_KEYS'] ?? '').split(':');
    const context = await browser.newContext({ httpCredentials: { username, password } });
    const page = await context.newPage();
    const elsewhere: string[] = [];
    page.on('response', (response) => {
      if (new URL(response.url()).origin !== new URL(dashboard.url).origin) elsewhere.push(response.url());
    });
    const blocked = page.waitForEvent('requestfailed', { predicate: (request) => request.url().includes('fonts.') });
    await page.goto(`${dashboard.queuesUrl}/queue/chat?status=failed`);
    await page.getByText('id: expected a UUID').first().waitFor();
    const text = await page.innerText('body');
    for (const name of QUEUES) expect(text.toLowerCase()).toContain(name);
    expect(text).not.toContain(MARKER);
    expect((await blocked).failure()?.errorText).toBe('csp');
    expect(elsewhere).toEqual([]);
    await context.close();
  });
});
