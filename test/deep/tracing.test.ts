/**
 * A collector of traces that is away for as long as it takes to be told of: spans go out every five seconds, and the exporter
 * tries for five more. In `npm test` the processes work beside such a collector and end.
 */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type RunningCli, startCli } from '../support/clients/cli.ts';
import { startCollector } from '../support/clients/collector.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const ENDPOINT = 'OTEL_EXPORTER_OTLP_ENDPOINT';

let stack: Stack;
let running: RunningCli[];
const stops: (() => Promise<void>)[] = [];
beforeEach(async () => {
  stack = await startStack({ environment: { MEMORY_API_PORT: '0', MEMORY_LOG_LEVEL: 'info' } });
  running = [];
});
afterEach(async () => {
  for (const { process } of running) process.kill('SIGKILL');
  await Promise.all(running.map(({ ended }) => ended));
  for (const stop of stops.splice(0)) await stop();
  await stack.stop();
});

/** Real processes, as they are run; resolves when all are up, with the address of the HTTP API. */
async function start(endpoint: string): Promise<string> {
  const environment = { ...stack.environment, [ENDPOINT]: endpoint };
  running = [['api'], ['worker', 'chat'], ['worker', 'flush']].map((command) => startCli(command, { environment }));
  const ups = running.map(async ({ said }) =>
    eventually(() => /HTTP API at (http:\S+)[,;]|worker started/.exec(said.stderr)),
  );
  return (await Promise.all(ups)).map((found) => found?.[1]).find(Boolean) ?? '';
}

async function post(url: string, body: object): Promise<string> {
  const key = stack.environment['MEMORY_API_KEYS']?.split(':')[1];
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', prefer: 'wait=50' };
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  const said = (await answer.json()) as { id: string };
  expect({ status: answer.status, said }).toMatchObject({ status: 200 });
  return said.id;
}

test.each(['is away', 'does not answer'])('a collector that %s stops nothing, and is told of once', async (how) => {
  const collector = await startCollector({ mute: true });
  if (how === 'is away') await collector.stop();
  else stops.push(() => collector.stop());
  const url = await start(collector.url);
  const contextId = stack.newContextId();
  const ids: string[] = [];
  const told = () => running.filter(({ said }) => said.stderr.includes(`${ENDPOINT} takes no spans`)).length;
  for (let rounds = 0; rounds < 2 || told() < running.length; rounds += 1) {
    const words = { context_id: contextId, user_id: 'u', user_message: `q ${rounds}`, assistant_message: 'a' };
    ids.push(await post(`${url}/memory/chat`, words));
    expect(await stack.memory.flushRedisToSupabase({ wait: 50_000 })).toMatchObject({ success: true });
  }
  const { data } = await stack.supabase.from('memories').select('id').eq('context_id', contextId);
  expect(data).toHaveLength(ids.length);
  for (const { process } of running) process.kill('SIGTERM');
  expect((await Promise.all(running.map(({ ended }) => ended))).map(({ code }) => code)).toEqual([0, 0, 0]);
  for (const { said } of running) expect(said.stderr.split('takes no spans')).toHaveLength(2);
});
