import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { v7 as uuidv7 } from 'uuid';
import { createLogger } from '../../shared/telemetry/log.ts';
import { startTraceExport, TOLD_ATTRIBUTES } from '../../shared/telemetry/trace-export.ts';
import { type RunningCli, startCli } from '../support/clients/cli.ts';
import { type Collector, type CollectedSpan, startCollector } from '../support/clients/collector.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn } from '../support/inputs/turns.ts';

const SECRET = 'SECRET-TEXT-51c0';
const ENDPOINT = 'OTEL_EXPORTER_OTLP_ENDPOINT';
/** What a trace may be made of. All else BullMQ does is its own business. */
const NAMES = /^(POST \/memory\/[a-z]+|add [a-z]+\.[a-z]+|addBulk chat|(process|fail) [a-z]+|commit|pin)$/;

let stack: Stack;
let collector: Collector;
let running: RunningCli[];
beforeEach(async () => {
  [stack, collector] = await Promise.all([startStack({ environment: { MEMORY_API_PORT: '0' } }), startCollector()]);
  running = [];
});
afterEach(async () => {
  for (const { process } of running) process.kill('SIGKILL');
  await Promise.all(running.map(({ ended }) => ended));
  await Promise.all([stack.stop(), collector.stop()]);
  for (const api of [trace, context, propagation]) api.disable();
});

type Command = ['worker', 'chat' | 'reflection' | 'flush'] | ['api'] | ['mcp', '--http'];

/** Real processes, as they are run; resolves when all are up, with the address of the HTTP API where it is among them. */
async function start(environment: Record<string, string>, ...commands: Command[]): Promise<string> {
  const all = { ...stack.environment, MEMORY_LOG_LEVEL: 'info', ...environment };
  running.push(...commands.map((command) => startCli(command, { environment: all })));
  const ups = running.map(async ({ said }) =>
    eventually(() => /(?:HTTP API|MCP server) at (http:\S+)[,;]|worker started/.exec(said.stderr)),
  );
  return (await Promise.all(ups)).map((found) => found?.[1]).find(Boolean) ?? '';
}

/** Ends them, so that whatever they have to tell is told; with their exit codes. */
async function stop(): Promise<(number | null)[]> {
  for (const { process } of running) process.kill('SIGTERM');
  return (await Promise.all(running.map(({ ended }) => ended))).map(({ code }) => code);
}

function key(): string {
  return stack.environment['MEMORY_API_KEYS']?.split(':')[1] ?? '';
}

async function post(url: string, body: object, more: Record<string, string> = {}): Promise<{ id: string }> {
  const headers = { authorization: `Bearer ${key()}`, 'content-type': 'application/json', prefer: 'wait=50', ...more };
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  const said = (await answer.json()) as { id: string };
  expect({ status: answer.status, said }).toMatchObject({ status: 200 });
  return said;
}

/** A caller's own span, to go on from. */
function caller(): { traceId: string; spanId: string; traceparent: string } {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-01` };
}

function spansOf(traceId: string): CollectedSpan[] {
  return collector.spans.filter((span) => span.traceId === traceId);
}

/** Each span as its process, its name and what it is a part of, by name. */
function tree(spans: readonly CollectedSpan[]): string[] {
  const names = new Map(spans.map(({ spanId, name }) => [spanId, name]));
  return spans
    .map(({ service, name, parentSpanId }) => `${service}: ${names.get(parentSpanId) ?? ''} > ${name}`)
    .toSorted();
}

async function flush(): Promise<void> {
  expect(await stack.memory.flushRedisToSupabase({ wait: 50_000 })).toMatchObject({ success: true });
}

test('one trace runs from the save over HTTP to the commit, and nothing that anybody wrote is in it', async () => {
  const url = await start(
    { [ENDPOINT]: collector.url },
    ['api'],
    ['worker', 'chat'],
    ['worker', 'reflection'],
    ['worker', 'flush'],
  );
  const contextId = stack.newContextId();
  const [chat, reflection, important] = [caller(), caller(), caller()];
  const owner = { context_id: contextId, user_id: `${SECRET} user` };
  const words = { ...owner, user_message: `${SECRET} question`, assistant_message: `${SECRET} answer` };
  const { id } = await post(`${url}/memory/chat?${SECRET}`, words, {
    traceparent: chat.traceparent,
    tracestate: `a=${SECRET}`,
  });
  const now = await post(`${url}/memory/chat`, { ...words, important: true }, { traceparent: important.traceparent });
  const pinned = await post(
    `${url}/memory/reflection`,
    { ...owner, reflection_text: `${SECRET} thought` },
    { traceparent: reflection.traceparent },
  );
  await flush();
  // What no worker can take, from a client that is not ours: its text is in the reason and in the exception.
  const bad = { ...turn(contextId, 1), id: uuidv7(), userMessage: { text: SECRET }, [SECRET]: true };
  await stack.queue('chat').add(SECRET, bad, { jobId: bad.id });
  await eventually(async () => (await stack.queue('chat').getFailedCount()) === 1);
  expect(await stop()).toEqual([0, 0, 0, 0]);

  expect(tree(spansOf(chat.traceId))).toEqual([
    'mnemoq-api:  > POST /memory/chat',
    'mnemoq-api: POST /memory/chat > add chat.chat',
    'mnemoq-chat: add chat.chat > process chat',
    'mnemoq-flush: process chat > commit',
  ]);
  const span = (traceId: string, name: string) => spansOf(traceId).find((each) => each.name === name);
  expect(span(chat.traceId, 'POST /memory/chat')).toMatchObject({
    parentSpanId: chat.spanId,
    attributes: { 'http.route': '/memory/chat', 'http.response.status_code': 200 },
  });
  const flushes = collector.spans.filter(({ name }) => name === 'process flush');
  expect(span(chat.traceId, 'commit')).toMatchObject({
    attributes: { 'mnemoq.record.id': id, 'mnemoq.outcome': 'committed' },
    links: [{ spanId: flushes.find(({ attributes }) => attributes['mnemoq.flush.flushed'] === 1)?.spanId }],
  });
  expect(flushes.map(({ traceId }) => traceId)).not.toContain(chat.traceId);
  expect(tree(spansOf(important.traceId))).toContain('mnemoq-chat: process chat > commit');
  expect(span(important.traceId, 'commit')).toMatchObject({ attributes: { 'mnemoq.record.id': now.id }, links: [] });
  expect(tree(spansOf(reflection.traceId))).toEqual([
    'mnemoq-api:  > POST /memory/reflection',
    'mnemoq-api: POST /memory/reflection > add reflection.reflection',
    'mnemoq-reflection: add reflection.reflection > process reflection',
    'mnemoq-reflection: process reflection > commit',
    'mnemoq-reflection: process reflection > pin',
  ]);
  expect(span(reflection.traceId, 'pin')).toMatchObject({ attributes: { 'mnemoq.record.id': pinned.id } });
  const failed = collector.spans.find(
    ({ name, attributes }) => name === 'process chat' && attributes['bullmq.job.id'] === bad.id,
  );
  expect(failed).toMatchObject({ status: 2, attributes: { 'mnemoq.outcome': 'failed' } });

  // Nothing but that, in no byte: no text, token, id of a user or a conversation, key or secret.
  expect(collector.spans.map(({ name }) => name).filter((name) => !NAMES.test(name))).toEqual([]);
  const told = new Set(collector.spans.flatMap(({ attributes }) => Object.keys(attributes)));
  expect([...told].filter((name) => !TOLD_ATTRIBUTES.includes(name))).toEqual([]);
  const secrets = ['MEMORY_ENCRYPTION_KEYS', 'MEMORY_SIGNING_KEY', 'SUPABASE_SERVICE_ROLE_KEY', 'MEMORY_API_KEYS'].map(
    (name) => stack.environment[name]?.replace(/^\w+:/, '') ?? '',
  );
  const { data } = await stack.supabase.from('memories').select('tokens').eq('id', id).single();
  const stored = data?.tokens as { user: number[] } | undefined;
  const tokens = stored?.user.slice(0, 3).join(',') ?? '';
  expect(tokens).not.toBe('');
  for (const never of [SECRET, contextId, tokens, ...secrets]) expect(collector.raw).not.toContain(never);
  // The log says where to look.
  const logged = running.map(({ said }) => said.stderr).join('');
  expect(logged).toMatch(new RegExp(`"trace_id":"${chat.traceId}","span_id":"\\w{16}".*"answered"`));
});

test('a quarantined record stays in its trace', async () => {
  const url = await start({ [ENDPOINT]: collector.url }, ['api'], ['worker', 'chat'], ['worker', 'flush']);
  const { traceId, traceparent } = caller();
  const contextId = stack.newContextId();
  const words = { context_id: contextId, user_id: 'u', user_message: 'q', assistant_message: 'a' };
  const { id } = await post(`${url}/memory/chat`, words, { traceparent });
  const cached = JSON.parse((await stack.client.hget(`memory:conversation:${contextId}`, id)) ?? '');
  await stack.client.hset(
    `memory:conversation:${contextId}`,
    id,
    JSON.stringify({ ...cached, textCache: `\0${SECRET}` }),
  );
  await flush();
  await eventually(async () => (await stack.memory.listQuarantined()).items.length === 1);
  await stop();
  expect(tree(spansOf(traceId)).filter((each) => each.startsWith('mnemoq-flush'))).toEqual([
    'mnemoq-flush: add quarantine.quarantine > process quarantine',
    'mnemoq-flush: process chat > add quarantine.quarantine',
    'mnemoq-flush: process chat > commit',
    'mnemoq-flush: process quarantine > fail quarantine',
  ]);
  expect(collector.raw).not.toContain(SECRET);
});

test('every flush is a trace of its own, whoever asked for it and however often it is tried', async () => {
  const interval = { MEMORY_FLUSH_STRATEGY: 'interval', MEMORY_FLUSH_INTERVAL_MS: '1000' };
  const settings = { [ENDPOINT]: collector.url, MEMORY_FLUSH_MAX_PENDING: '1', ...interval };
  stack.proxy.fault = ({ method }) => (method === 'POST' ? { status: 503 } : null);
  const url = await start(settings, ['api'], ['worker', 'chat'], ['worker', 'flush']);
  const words = { context_id: stack.newContextId(), user_id: 'u', user_message: 'q', assistant_message: 'a' };
  const { traceId, traceparent } = caller();
  await post(`${url}/memory/chat`, words, { traceparent });
  const reasons = async () => {
    const jobs = await stack.queue('flush').getJobs(['completed', 'failed']);
    return new Set(
      jobs.filter(({ data }) => data.reason !== 'retry' || data.attempt > 1).map(({ data }) => data.reason),
    );
  };
  await eventually(async () => (await reasons()).size === 3);
  stack.proxy.fault = () => null;
  await eventually(async () => (await stack.memory.getStats()).pendingQueueLength === 0);
  await stop();
  const flushes = collector.spans.filter(({ name }) => name === 'process flush');
  expect(flushes.length).toBeGreaterThan(3);
  expect(new Set(flushes.map((each) => each.traceId)).size).toBe(flushes.length);
  expect(flushes.filter(({ parentSpanId }) => parentSpanId !== '')).toEqual([]);
  expect(
    flushes.filter(({ attributes }) => attributes['error.type'] === 'outage').every(({ status }) => status === 2),
  ).toBe(true);
  expect(spansOf(traceId).filter(({ name }) => name === 'commit')).toHaveLength(1);
});

test('a tool of the MCP server is part of its request', async () => {
  const url = await start({ [ENDPOINT]: collector.url, MEMORY_MCP_PORT: '0' }, ['mcp', '--http']);
  const client = new Client({ name: 'test', version: '1.0.0' });
  const { traceId, traceparent } = caller();
  const headers = { authorization: `Bearer ${key()}`, traceparent };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  const said = { context_id: 'c', user_id: 'u', user_message: SECRET, assistant_message: SECRET };
  expect(await client.callTool({ name: 'save_chat', arguments: said })).not.toMatchObject({ isError: true });
  await client.close();
  await stop();
  expect(tree(spansOf(traceId))).toContain('mnemoq-mcp: POST /mcp > add chat.chat');
  expect(collector.raw).not.toContain(SECRET);
});

test('traceparents that are none, and entries of an earlier release, harm nothing', async () => {
  const url = await start({ [ENDPOINT]: collector.url }, ['api'], ['worker', 'chat'], ['worker', 'flush']);
  const contextId = stack.newContextId();
  const words = { context_id: contextId, user_id: 'u', user_message: 'q', assistant_message: 'a' };
  const zero = `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`;
  const ids: string[] = [];
  for (const traceparent of ['no trace', zero, 'x'.repeat(5000)]) {
    ids.push((await post(`${url}/memory/chat`, words, { traceparent })).id);
  }
  const metadata = [
    'no JSON',
    '5',
    'null',
    '{"traceparent":7}',
    `{"traceparent":"${zero}","tracestate":[]}`,
    7 as never,
  ];
  for (const [n, telemetry] of metadata.entries()) {
    const data = { ...turn(contextId, n), id: uuidv7() };
    await stack.queue('chat').add('chat', data, { jobId: data.id, telemetry: { metadata: telemetry } });
    ids.push(data.id);
  }
  await stack.idle('chat');
  expect(await stack.queue('chat').getFailedCount()).toBe(0);
  // One as an earlier release wrote it, one with something else in the field.
  const entries = await stack.client.xrange('memory:pending', '-', '+');
  expect(entries).toHaveLength(ids.length);
  for (const [i, traceparent] of [null, 'no trace', zero].entries()) {
    const [entry = '', fields = []] = entries[i] ?? [];
    const [id = '', bytes = ''] = ['id', 'bytes'].map((name) => fields[fields.indexOf(name) + 1]);
    await stack.client.xdel('memory:pending', entry);
    const more = traceparent === null ? [] : ['traceparent', traceparent];
    const again = await stack.client.xadd(
      'memory:pending',
      '*',
      'contextId',
      contextId,
      'id',
      id,
      'bytes',
      bytes,
      ...more,
    );
    await stack.client.hset('memory:pending-index', id, `${again} ${contextId}`);
  }
  await flush();
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
  expect(data?.map(({ id }) => id as string).toSorted()).toEqual(ids.toSorted());
  expect(await stop()).toEqual([0, 0, 0]);
  expect(collector.spans.filter(({ name }) => name === 'commit')).toHaveLength(ids.length - 3);
});

test.each(['is away', 'does not answer'])('a collector that %s stops nothing', async (how) => {
  await collector.stop();
  if (how === 'does not answer') collector = await startCollector({ mute: true });
  const url = await start({ [ENDPOINT]: collector.url }, ['api'], ['worker', 'chat'], ['worker', 'flush']);
  const contextId = stack.newContextId();
  const words = { context_id: contextId, user_id: 'u', user_message: 'q', assistant_message: 'a' };
  const { id } = await post(`${url}/memory/chat`, words);
  await flush();
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
  expect(data).toEqual([{ id }]);
  expect(await stop()).toEqual([0, 0, 0]);
  if (how === 'is away') collector = await startCollector(); // for the hook
});

test('without the variable nothing is sent, carried or kept', async () => {
  // Where the exporter itself would look.
  const url = await start(
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: collector.url, OTEL_TRACES_EXPORTER: 'otlp' },
    ['api'],
    ['worker', 'chat'],
    ['worker', 'flush'],
  );
  const words = { context_id: stack.newContextId(), user_id: 'u', user_message: 'q', assistant_message: 'a' };
  const { id } = await post(`${url}/memory/chat`, words, { traceparent: caller().traceparent });
  const [entry] = await stack.client.xrange('memory:pending', '-', '+');
  expect(entry?.[1].filter((_, i) => i % 2 === 0)).toEqual(['contextId', 'id', 'bytes']);
  const job = await stack.queue('chat').getJob(id);
  expect(job?.opts.telemetry).toBeUndefined();
  await flush();
  expect(await stop()).toEqual([0, 0, 0]);
  expect(collector.connections).toBe(0);
  expect(running.map(({ said }) => said.stderr).join('')).not.toContain('trace_id');
});

test('in an application that traces, a save is part of its trace, and its provider stays', async () => {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const end = startTraceExport(collector.url, 'another', createLogger('silent', 'test'));
  await trace.getTracer('app').startActiveSpan('ask', async (span) => {
    await stack.memory.saveChat(turn(stack.newContextId(), 1));
    span.end();
  });
  await end();
  expect(collector.connections).toBe(0);
  const [add, ask] = exporter.getFinishedSpans();
  expect([add?.name, ask?.name]).toEqual(['add chat.chat', 'ask']);
  expect(add?.parentSpanContext).toEqual(ask?.spanContext());
  const [job] = await stack.queue('chat').getWaiting();
  expect(job?.opts.telemetry?.metadata).toContain(`00-${add?.spanContext().traceId}-${add?.spanContext().spanId}-01`);
  await provider.shutdown();
});

test('docs/tracing.md lists every attribute', () => {
  const text = readFileSync(path.join(import.meta.dirname, '../../docs/tracing.md'), 'utf8');
  const [, told = ''] = text.split('## What is told');
  const listed = [...told.matchAll(/^\| `([\w.]+)` +\|/gm)].map(([, name]) => name ?? '');
  expect(listed.toSorted()).toEqual([...TOLD_ATTRIBUTES].toSorted());
});
