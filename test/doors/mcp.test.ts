import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import path from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type McpDoor, startMcpHttp } from '../../doors/mcp/http-door.ts';
import { startCli } from '../support/clients/cli.ts';
import { runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { ODD_IDS } from '../support/inputs/odd-ids.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const MAIN = path.join(import.meta.dirname, '../../cli/main.ts');
const ALICES = 'alices-key-0123456789';
const TEXT = 'SECRET-TEXT-77c1';

let stack: Stack;
let door: McpDoor;
let serviceKey: string;
const clients: Client[] = [];

beforeAll(async () => {
  stack = await startStack({ environment: { MEMORY_MCP_PORT: '0' } });
  serviceKey = (stack.environment['MEMORY_API_KEYS'] ?? '').split(':')[1] ?? '';
  await stack.startWorkers();
  const keys = `${stack.environment['MEMORY_API_KEYS']},web@alice:${ALICES}`;
  door = await startMcpHttp({ ...stack.environment, MEMORY_API_KEYS: keys }, '1.0.0');
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await door.stop();
  await stack.stop();
});

async function connected(transport: StdioClientTransport | StreamableHTTPClientTransport): Promise<Client> {
  const client = new Client({ name: 'test', version: '1.0.0' });
  await client.connect(transport);
  clients.push(client);
  return client;
}

async function overHttp(key: string | null, headers: Record<string, string> = {}): Promise<Client> {
  const authorization = key === null ? {} : { authorization: `Bearer ${key}` };
  const requestInit = { headers: { ...authorization, ...headers } };
  return connected(new StreamableHTTPClientTransport(new URL(door.url), { requestInit }));
}

interface Process {
  client: Client;
  pid: number;
  said: { stderr: string };
}

async function overStdio(...args: string[]): Promise<Process> {
  const env = { PATH: process.env['PATH'] ?? '', ...stack.environment, MEMORY_LOG_LEVEL: 'info' };
  const cwd = stack.environment['MNEMOQ_DATA_DIR'] ?? '';
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, 'mcp', ...args],
    env,
    cwd,
    stderr: 'pipe',
  });
  const said = { stderr: '' };
  transport.stderr?.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()));
  const client = await connected(transport);
  return { client, pid: transport.pid ?? 0, said };
}

type Answer = Record<string, unknown>;

async function call(client: Client, name: string, args: object = {}): Promise<Answer> {
  const result = await client.callTool({ name, arguments: args as Record<string, unknown> });
  if (result.isError) throw new Error(JSON.stringify(result.content));
  const [content] = result.content;
  expect(JSON.parse(content?.type === 'text' ? content.text : '')).toEqual(result.structuredContent);
  return result.structuredContent as Answer;
}

async function refused(client: Client, name: string, args: object = {}): Promise<Answer> {
  const result = await client.callTool({ name, arguments: args as Record<string, unknown> });
  const [content] = result.content;
  const said = content?.type === 'text' ? content.text : '';
  expect([result.isError, result.structuredContent]).toEqual([true, undefined]);
  return JSON.parse(said) as Answer;
}

const turn = (contextId: string, more: object = {}) => ({
  context_id: contextId,
  user_message: `${TEXT} question`,
  assistant_message: `${TEXT} answer`,
  ...more,
});
const itemsOf = (answer: Answer) => answer['items'] as Answer[];

const ways: [string, (user?: string) => Promise<Client>][] = [
  ['standard input and output', async (user) => (await overStdio(...(user ? ['--user', user] : []))).client],
  ['HTTP', async (user) => overHttp(user ? ALICES : serviceKey)],
];

describe.each(ways)('over %s', (_way, connect) => {
  let service: Client;
  let alice: Client;
  beforeAll(async () => {
    [service, alice] = [await connect(), await connect('alice')];
  });

  test('every tool is there for who may use it, and told so that an agent knows what it does', async () => {
    const { tools } = await service.listTools();
    expect(tools.map(({ name }) => name)).toEqual([
      'save_chat',
      'save_reflection',
      'load_recent_context',
      'search',
      'list_conversations',
      'list_reflections',
      'verify',
      'get_stats',
    ]);
    expect((await alice.listTools()).tools.map(({ name }) => name)).not.toContain('get_stats');
    for (const { name, description, inputSchema, outputSchema, annotations } of tools) {
      expect(description?.length).toBeGreaterThan(50);
      expect([name, inputSchema.type, outputSchema?.['type']]).toEqual([name, 'object', 'object']);
      expect([name, annotations?.readOnlyHint]).toEqual([name, !name.startsWith('save_')]);
      expect(inputSchema).toMatchObject({ additionalProperties: false });
      for (const [field, words] of Object.entries(inputSchema.properties ?? {})) {
        expect(field).toMatch(/^[a-z_]+$/);
        expect(words).toMatchObject({ description: expect.any(String) });
      }
      expect(inputSchema.properties).not.toHaveProperty('id');
    }
    expect(service.getInstructions()).toContain('save_chat');
  });

  test('a turn and a reflection are saved, recalled, listed and verified', async () => {
    const contextId = stack.newContextId();
    const receipt = await call(service, 'save_chat', turn(contextId, { user_id: 'alice', wait: true }));
    expect(receipt).toMatchObject({ success: true, conversation_id: contextId, redis_stored: true });
    expect(receipt['token_count']).toBeGreaterThan(1);
    const written = { context_id: contextId, user_id: 'alice', reflection_text: `${TEXT} learned`, wait: true };
    const reflection = await call(service, 'save_reflection', written);
    expect(reflection['cid']).toMatch(/^baf/);

    const recalled = await call(service, 'load_recent_context', { context_id: contextId });
    expect(itemsOf(recalled)).toMatchObject([
      { id: receipt['id'], user_id: 'alice', user_message: `${TEXT} question`, assistant_message: `${TEXT} answer` },
      { id: reflection['id'], module: 'reflection', text: `${TEXT} learned` },
    ]);
    const messages = await call(service, 'load_recent_context', { context_id: contextId, format: 'messages' });
    expect(itemsOf(messages).map(({ role }) => role)).toEqual(['user', 'assistant', 'system']);
    expect(await call(alice, 'load_recent_context', { context_id: contextId })).toEqual(recalled);

    const listed = await call(service, 'list_reflections', { context_id: contextId });
    expect(listed['items']).toMatchObject([{ id: reflection['id'], cid: reflection['cid'] }]);
    for (const client of [service, alice]) {
      const verified = await call(client, 'verify', { cid: reflection['cid'] });
      expect([verified['ok'], (verified['checks'] as unknown[]).length]).toEqual([true, 9]);
    }
    const found = await call(service, 'search', { query: 'question', context_id: contextId });
    expect(found).toMatchObject({ items: [{ id: receipt['id'], score: expect.any(Number) }], complete: true });
    const conversations = await call(service, 'list_conversations', { prefix: contextId });
    expect(conversations['items']).toMatchObject([{ context_id: contextId }]);
    expect(await call(service, 'get_stats')).toMatchObject({ short_term_limit: 100, queues: { chat: {} } });
  });

  test('recall keeps within its budget: the newest, and no half of one', async () => {
    const contextId = stack.newContextId();
    for (const minute of [1, 2, 3]) {
      const created_at = `2026-01-01T00:0${minute}:00Z`;
      const words = { user_message: 'one', assistant_message: `number ${minute}` };
      await call(service, 'save_chat', { ...turn(contextId), ...words, user_id: 'alice', created_at, wait: true });
    }
    const all = await call(service, 'load_recent_context', { context_id: contextId });
    const each = Number(all['token_count']) / 3;
    const within = await call(service, 'load_recent_context', { context_id: contextId, max_tokens: 3 * each - 1 });
    expect([within['token_count'], itemsOf(within)]).toEqual([2 * each, itemsOf(all).slice(1)]);
    expect(itemsOf(await call(service, 'load_recent_context', { context_id: contextId, limit: 1 }))).toEqual(
      itemsOf(all).slice(2),
    );
    expect(itemsOf(await call(service, 'load_recent_context', { context_id: stack.newContextId() }))).toEqual([]);
  });

  test('the same key saved again is the same turn', async () => {
    const saved = turn(stack.newContextId(), { user_id: 'alice', idempotency_key: randomUUID(), wait: true });
    const [first, again] = [await call(service, 'save_chat', saved), await call(service, 'save_chat', saved)];
    expect(again['id']).toBe(first['id']);
    expect(itemsOf(await call(service, 'load_recent_context', { context_id: saved.context_id }))).toHaveLength(1);
  });

  test('what is wrong is told by its field, and never quoted', async () => {
    const wrong: [string, object, string][] = [
      ['save_chat', { ...turn('c', { user_id: 'alice' }), user_message: 7 }, 'user_message'],
      ['save_chat', { context_id: 'c', user_id: 'alice', user_message: TEXT }, 'assistant_message'],
      ['save_chat', turn('c'), 'user_id'],
      ['save_chat', turn('c', { user_id: 'alice', id: randomUUID() }), 'id'],
      ['save_chat', turn('c', { user_id: 'alice', created_at: TEXT }), 'created_at'],
      ['save_chat', turn('c', { user_id: 'alice', wait: 'yes' }), 'wait'],
      ['save_reflection', { context_id: 'c', reflection_text: '' }, 'reflection_text'],
      ['save_reflection', { context_id: 'c', reflection_text: TEXT, source_ids: [TEXT] }, 'source_ids.0'],
      ['load_recent_context', {}, 'context_id'],
      ['load_recent_context', { context_id: 'c', max_tokens: 0 }, 'max_tokens'],
      ['load_recent_context', { context_id: 'c', format: 'tokens' }, 'format'],
      ['list_conversations', { limit: 5000 }, 'limit'],
      ['search', { query: '' }, 'query'],
      ['list_reflections', { context_id: '' }, 'context_id'],
      ['verify', { cid: 'no CID' }, 'cid'],
      ['get_stats', { more: TEXT }, 'more'],
    ];
    for (const [name, args, field] of wrong) {
      const refusal = await refused(service, name, args);
      expect([name, refusal]).toMatchObject([name, { code: 'invalid_input', problems: [{ field }] }]);
      expect(JSON.stringify(refusal)).not.toContain(TEXT);
    }
    await expect(service.callTool({ name: 'drop_everything', arguments: {} })).rejects.toThrow(/drop_everything/);
  });

  test('one user sees, and saves, only what is theirs', async () => {
    const contextId = stack.newContextId();
    await call(service, 'save_chat', turn(contextId, { user_id: 'bob', wait: true }));
    const bobs = await call(service, 'save_reflection', {
      context_id: contextId,
      user_id: 'bob',
      reflection_text: TEXT,
      wait: true,
    });
    expect(itemsOf(await call(alice, 'load_recent_context', { context_id: contextId }))).toEqual([]);
    expect((await call(alice, 'list_reflections', { context_id: contextId }))['items']).toEqual([]);
    expect((await call(alice, 'list_conversations', { prefix: contextId }))['items']).toEqual([]);
    expect((await call(alice, 'search', { query: 'question', context_id: contextId }))['items']).toEqual([]);
    expect(await refused(alice, 'verify', { cid: bobs['cid'] })).toMatchObject({ code: 'not_found' });
    await expect(alice.callTool({ name: 'get_stats', arguments: {} })).rejects.toThrow(/get_stats/);
    for (const [name, args] of [
      ['save_chat', turn(contextId)],
      ['save_reflection', { context_id: contextId, reflection_text: TEXT }],
      ['load_recent_context', { context_id: contextId }],
      ['list_conversations', {}],
      ['search', { query: 'question' }],
      ['list_reflections', { context_id: contextId }],
      ['verify', { cid: bobs['cid'] }],
    ] as const) {
      expect([name, await refused(alice, name, { ...args, user_id: 'bob' })]).toMatchObject([
        name,
        { code: 'forbidden' },
      ]);
    }
    const uri = `mnemoq://conversations/${encodeURIComponent(contextId)}`;
    await expect(alice.readResource({ uri })).rejects.toThrow(/not found/i);
    expect((await service.readResource({ uri })).contents).toHaveLength(1);

    await call(alice, 'save_chat', turn(contextId, { wait: true }));
    expect(itemsOf(await call(alice, 'load_recent_context', { context_id: contextId }))).toMatchObject([
      { user_id: 'alice' },
    ]);
    expect(itemsOf(await call(service, 'load_recent_context', { context_id: contextId, user_id: 'bob' }))).toHaveLength(
      2,
    );
    expect(itemsOf(await call(service, 'load_recent_context', { context_id: contextId }))).toHaveLength(3);
  });

  test('conversations are resources: listed, found by their beginning, read', async () => {
    const contextId = `a ${randomUUID()}`;
    const saved = await call(service, 'save_chat', turn(contextId, { user_id: 'alice', wait: true }));
    const { resources } = await alice.listResources();
    const resource = resources.find(({ name }) => name === contextId);
    expect(resource).toMatchObject({ uri: `mnemoq://conversations/${encodeURIComponent(contextId)}` });
    const { resourceTemplates } = await alice.listResourceTemplates();
    expect(resourceTemplates).toMatchObject([{ uriTemplate: 'mnemoq://conversations/{context_id}' }]);
    const { completion } = await alice.complete({
      ref: { type: 'ref/resource', uri: 'mnemoq://conversations/{context_id}' },
      argument: { name: 'context_id', value: contextId.slice(0, 20) },
    });
    expect(completion.values).toEqual([contextId]);
    const [content] = (await alice.readResource({ uri: resource?.uri ?? '' })).contents;
    const read = JSON.parse(content && 'text' in content ? content.text : '') as Answer;
    expect(read).toMatchObject({ context_id: contextId, items: [{ id: saved['id'] }] });
    await expect(service.readResource({ uri: `mnemoq://conversations/${randomUUID()}` })).rejects.toThrow(/not found/i);
  });
});

test('conversations of any name can be read as resources', async () => {
  const service = await overHttp(serviceKey);
  for (const [name, contextId] of ODD_IDS) {
    await call(service, 'save_chat', turn(contextId, { user_id: 'odd', wait: true }));
    const { contents } = await service.readResource({
      uri: `mnemoq://conversations/${encodeURIComponent(contextId)}`,
    });
    const [content] = contents;
    const read = JSON.parse(content && 'text' in content ? content.text : '{}') as Answer;
    expect([name, read['context_id']]).toEqual([name, contextId]);
  }
});

describe('the door over HTTP', () => {
  const post = async (headers: Record<string, string>, url = door.url, body: string | null = LIST) =>
    fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers },
      ...(body !== null && { body }),
    });
  const LIST = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} });
  const authorization = () => `Bearer ${serviceKey}`;

  test('opens for known keys only', async () => {
    for (const key of [null, 'wrong', `${serviceKey}x`, '']) await expect(overHttp(key)).rejects.toThrow(/401/);
    const stranger = await post({});
    expect([stranger.status, stranger.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="Mnemoq"']);
    expect((await post({ authorization: authorization() })).status).toBe(200);
    expect((await post({ authorization: authorization() }, door.url.replace('/mcp', '/'))).status).toBe(404);
    expect((await fetch(door.url.replace('/mcp', '/health/ready'))).status).toBe(200);
  });

  test('stays shut for pages of another origin, and for a foreign name where there are no keys', async () => {
    const headers = { authorization: authorization() };
    for (const origin of ['https://evil.example', 'null', 'http://localhost.evil.example']) {
      expect([origin, (await post({ ...headers, origin })).status]).toEqual([origin, 403]);
    }
    expect((await post({ ...headers, origin: new URL(door.url).origin })).status).toBe(200);
    const { MEMORY_API_KEYS: _none, ...without } = stack.environment;
    const open = await startMcpHttp(without, '1.0.0');
    try {
      expect(open.open).toBe(true);
      expect((await post({}, open.url)).status).toBe(200);
      const { port } = new URL(open.url);
      const { status } = await new Promise<{ status: number | undefined }>((resolve, reject) => {
        const sent = request({
          host: '127.0.0.1',
          port,
          path: '/mcp',
          method: 'POST',
          headers: { host: 'evil.example' },
        });
        sent.on('response', (response) => resolve({ status: response.resume().statusCode })).on('error', reject);
        sent.end(LIST);
      });
      expect(status).toBe(401);
    } finally {
      await open.stop();
    }
    await expect(startMcpHttp({ ...without, MEMORY_MCP_HOST: '0.0.0.0' }, '1.0.0')).rejects.toMatchObject({
      code: 'invalid_configuration',
      message: expect.stringContaining('MEMORY_MCP_HOST'),
    });
  });

  test('answers what is no MCP, and too much of it, with a refusal', async () => {
    const headers = { authorization: authorization() };
    expect((await post(headers, door.url, '{')).status).toBe(400);
    expect((await post({ ...headers, 'content-type': 'text/plain' })).status).toBe(415);
    expect((await post(headers, door.url, ' '.repeat(26 * 1024 * 1024))).status).toBe(413);
    expect((await post(headers)).status).toBe(200);
  });

  test('names the variable when its port is taken', async () => {
    const environment = { ...stack.environment, MEMORY_MCP_PORT: new URL(door.url).port };
    await expect(startMcpHttp(environment, '1.0.0')).rejects.toMatchObject({
      code: 'invalid_configuration',
      message: expect.stringMatching(/^MEMORY_MCP_PORT: expected a free port, 127\.0\.0\.1:\d+ is in use$/),
    });
  });
});

describe('as a process', () => {
  test('standard output has the protocol and nothing else, the log no text, and its end of input ends it', async () => {
    const messages = [
      {
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
      },
      { method: 'notifications/initialized' },
      {
        id: 2,
        method: 'tools/call',
        params: { name: 'save_chat', arguments: turn(stack.newContextId(), { user_id: 'alice' }) },
      },
    ].map((message) => `${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
    const environment = { ...stack.environment, MEMORY_LOG_LEVEL: 'trace' };
    const running = startCli(['mcp'], { environment, input: null });
    running.process.stdin?.write(messages.join(''));
    await eventually(() => running.said.stdout.includes('"id":2'));
    running.process.stdin?.end();
    const { code, stdout, stderr } = await running.ended;
    const answers = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Answer);
    expect([code, answers.map(({ jsonrpc, id }) => [jsonrpc, id])]).toEqual([
      0,
      [
        ['2.0', 1],
        ['2.0', 2],
      ],
    ]);
    expect(stderr).toContain('"tool":"save_chat"');
    expect(stderr).not.toContain(TEXT);
  });

  test('killed in a session, what was acknowledged is remembered and the next one goes on', async () => {
    const contextId = stack.newContextId();
    const { client, pid } = await overStdio('--user', 'alice');
    const ids: unknown[] = [];
    for (const minute of [1, 2, 3]) {
      const created_at = `2026-01-01T00:0${minute}:00Z`;
      ids.push((await call(client, 'save_chat', turn(contextId, { created_at })))['id']);
    }
    const inHand = call(client, 'save_chat', turn(contextId, { created_at: '2026-01-01T00:04:00Z' }));
    process.kill(pid, 'SIGKILL');
    await inHand.then(
      ({ id }) => ids.push(id),
      () => undefined,
    );
    await expect(
      client.callTool({ name: 'load_recent_context', arguments: { context_id: contextId } }),
    ).rejects.toThrow(/closed|connected/i);

    const { client: next } = await overStdio('--user', 'alice');
    await stack.idle('chat');
    const recalled = itemsOf(await call(next, 'load_recent_context', { context_id: contextId })).map(({ id }) => id);
    expect(recalled.slice(0, ids.length)).toEqual(ids);
  });

  test('over HTTP: SIGTERM ends it when what is in hand is answered, and a client goes on with the next one', async () => {
    const environment = { ...stack.environment, MEMORY_LOG_LEVEL: 'info' };
    const contextId = stack.newContextId();
    const saved = turn(contextId, { user_id: 'alice', wait: true });
    const first = startCli(['mcp', '--http'], { environment });
    const address = /http:\S+\/mcp/;
    const [url = ''] = (await eventually(() => address.exec(first.said.stderr))) ?? [];
    const requestInit = { headers: { authorization: `Bearer ${serviceKey}` } };
    const client = await connected(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
    await stack.queue('chat').pause();
    const inHand = call(client, 'save_chat', saved);
    await eventually(async () => (await stack.queue('chat').getWaitingCount()) > 0);
    first.process.kill('SIGTERM');
    await eventually(async () =>
      fetch(url).then(
        () => false,
        () => true,
      ),
    );
    await stack.queue('chat').resume();
    const { id } = await inHand;
    const ended = await first.ended;
    expect([ended.code, ended.signal, ended.stdout]).toEqual([0, null, '']);
    expect(ended.stderr).not.toContain(serviceKey);
    expect(ended.stderr).not.toContain(TEXT);
    await expect(client.callTool({ name: 'get_stats', arguments: {} })).rejects.toThrow(/fetch failed/);

    const port = new URL(url).port;
    const second = startCli(['mcp', '--http'], { environment: { ...environment, MEMORY_MCP_PORT: port } });
    await eventually(() => address.test(second.said.stderr));
    expect(itemsOf(await call(client, 'load_recent_context', { context_id: contextId }))).toMatchObject([{ id }]);
    second.process.kill('SIGTERM');
    expect((await second.ended).code).toBe(0);
  });

  test.each([
    [['mcp', '--http', '--user', 'alice'], 'not --user'],
    [['mcp', '--user', ''], '--user'],
  ])('%j is refused', async (args, said) => {
    const { code, stderr, stdout } = await runCommand(args, { environment: stack.environment });
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(said);
  });
});

test('while Redis does not answer a save is refused with its code, and the server goes on', async () => {
  const service = await overHttp(serviceKey);
  const saved = turn(stack.newContextId(), { user_id: 'alice' });
  stack.redis.process.kill('SIGSTOP');
  try {
    expect(await refused(service, 'save_chat', saved)).toMatchObject({ code: 'redis_unavailable', problems: [] });
    expect((await service.listTools()).tools).not.toEqual([]);
  } finally {
    stack.redis.process.kill('SIGCONT');
  }
  expect(await call(service, 'save_chat', saved)).toMatchObject({ success: true });
});
