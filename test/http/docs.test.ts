import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { type Api, startApi } from '../../doors/http/server.ts';
import { launchChromium } from '../support/clients/chromium.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

let stack: Stack;
let api: Api;
let browser: Browser;
beforeAll(async () => {
  stack = await startStack({ environment: { MEMORY_API_PORT: '0' } });
  api = await startApi(stack.environment, '1.0.0');
  browser = await launchChromium();
});
afterAll(async () => {
  await browser.close();
  await api.stop();
  await stack.stop();
});

test('the documentation is read in a browser, asks nobody else, and tries a request with a key', async () => {
  const page = await browser.newPage();
  const asked: string[] = [];
  const wrong: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
  page.on('pageerror', (error) => wrong.push(error.message));
  await page.goto(`${api.url}/docs`);
  await page.locator('#operations-reading-listConversations').waitFor();
  const document = (await (await fetch(`${api.url}/docs/json`)).json()) as {
    paths: Record<string, Record<string, object>>;
  };
  const operations = Object.values(document.paths).flatMap((path) => Object.keys(path));
  expect(await page.locator('.opblock').count()).toBe(operations.length);

  await page.getByRole('button', { name: 'Authorize' }).first().click();
  const secret = (stack.environment['MEMORY_API_KEYS'] ?? '').split(':')[1] ?? '';
  const dialog = page.locator('.auth-container').filter({ hasText: 'A secret of MEMORY_API_KEYS' });
  await dialog.locator('input').fill(secret);
  await dialog.getByRole('button', { name: 'Apply credentials' }).click();
  await page.locator('.modal-ux .btn-done').first().click();
  const operation = page.locator('#operations-reading-listConversations');
  await operation.locator('.opblock-summary-control').click();
  await operation.getByRole('button', { name: 'Try it out' }).click();
  await operation.getByRole('button', { name: 'Execute' }).click();
  const answer = operation.locator('.live-responses-table .response');
  await answer.getByText('200', { exact: true }).waitFor();
  expect(await answer.locator('.microlight').first().textContent()).toContain('"items"');

  expect(new Set(asked.map((url) => new URL(url).origin)).size).toBe(1);
  expect(wrong).toEqual([]);
});
