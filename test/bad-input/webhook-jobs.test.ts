import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { MnemoqError } from '../../producers/index.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { deliver, type WebhookConfig } from '../../workers/outside/webhook-delivery.ts';

let requests = 0;
const server = createServer((_request, response) => {
  requests += 1;
  response.writeHead(204).end();
});
let config: WebhookConfig;
beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const environment = { MEMORY_WEBHOOK_URL: `http://127.0.0.1:${port}/`, MEMORY_WEBHOOK_SECRET: secret };
  config = loadConfig(environment, ['webhookUrl', 'webhookSecret']);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const job = (data: unknown) => ({ data: data as never, timestamp: Date.now() });

test.each([
  ['null', null],
  ['a text', 'text'],
  ['a list', [1]],
  ['nothing in it', {}],
  ['an id that is a number', { id: 5 }],
  ['an id that cannot stand in a header', { id: 'a\nb' }],
])('a delivery with %s fails at once and calls nobody', async (_name, data) => {
  const before = requests;
  const error = await deliver(job(data), config).catch((refusal: MnemoqError) => refusal);
  expect(error).toMatchObject({
    code: 'invalid_input',
    message: expect.stringMatching(/^the webhook job is not valid/),
  });
  expect(requests).toBe(before);
});

test('a delivery of an event is made', async () => {
  const event = { id: '1-0', type: 'record.cached', at: new Date().toISOString(), data: {} };
  expect(await deliver(job(event), config)).toEqual({ status: 204 });
});
