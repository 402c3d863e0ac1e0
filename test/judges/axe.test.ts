/// <reference lib="dom" />
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { type Dashboard, startDashboard } from '../../doors/dashboard/dashboard.ts';
import { type Api, startApi } from '../../doors/http/server.ts';
import { launchChromium } from '../support/clients/chromium.ts';
import { turns } from '../support/inputs/turns.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { acceptedBy, disputes } from './support/accepted.ts';
import { npmFile } from './support/programs.ts';

const AXE = readFileSync(npmFile('axe-core/axe.min.js'), 'utf8');
/** WCAG 2.0 to 2.2, levels A and AA, which laws ask for, and what axe calls best practice. */
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const SECRET = 'a-secret-of-the-service';

interface Results {
  violations: { id: string; nodes: { target: string[] }[] }[];
  passes: { id: string }[];
}

let stack: Stack;
let dashboard: Dashboard;
let api: Api;
let browser: Browser;
let contextId: string;
/** Of all pages of this file; the accepted ones have one list. */
const findings: string[] = [];

beforeAll(async () => {
  const ports = { MEMORY_DASHBOARD_PORT: '0', MEMORY_API_PORT: '0' };
  stack = await startStack({ environment: { ...ports, MEMORY_API_KEYS: `tester:${SECRET}` } });
  await stack.startWorkers();
  dashboard = await startDashboard(stack.environment);
  api = await startApi(stack.environment, '1.0.0');
  browser = await launchChromium();
  contextId = stack.newContextId();
  for (const input of turns(contextId, 3)) await stack.memory.saveChat(input, { wait: true });
  await stack.memory.saveReflection(
    { contextId, userId: 'user-1', reflectionText: 'Ask about wind first.' },
    { wait: 20 },
  );
});
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
});
afterAll(async () => {
  await browser.close();
  await api.stop();
  await dashboard.stop();
  await stack.stop();
});

async function open(url: string, options: BrowserContextOptions = {}): Promise<Page> {
  const httpCredentials = { username: 'tester', password: SECRET };
  const context = await browser.newContext({ httpCredentials, locale: 'en-GB', reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/** Asks axe about the page as it is now, and how much it looked at. */
async function judge(name: string, page: Page, whose: 'ours' | 'theirs' = 'ours'): Promise<number> {
  // Evaluated and not added as a script: the pages allow no script of others.
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(
    async (values) =>
      (globalThis as unknown as { axe: { run(options: object): Promise<Results> } }).axe.run({
        runOnly: { type: 'tag', values },
        resultTypes: ['violations'],
      }),
    RULES,
  );
  for (const { id, nodes } of violations) {
    // Of a page that others have written a rule counts once: we do not choose its elements.
    if (whose === 'theirs') findings.push(`${name}: ${id}`);
    else for (const { target } of nodes) findings.push(`${name}: ${id} ${target.join(' ')}`);
  }
  return passes.length;
}

test.each(['light', 'dark'] as const)(
  'the memory page, %s: the list, a conversation, a narrow window',
  async (colorScheme) => {
    const page = await open(dashboard.url, { colorScheme });
    await page.getByText(contextId).first().waitFor();
    expect(await judge('memory page', page)).toBeGreaterThan(10);
    const address = `${dashboard.url}/#${new URLSearchParams({ c: contextId }).toString()}`;
    const conversation = await open(address, { colorScheme });
    await conversation.locator('.record').first().waitFor();
    await judge('conversation', conversation);
    const narrow = await open(address, { colorScheme, viewport: { width: 360, height: 700 } });
    await narrow.locator('.record').first().waitFor();
    await judge('conversation', narrow);
  },
);

test('the board of queues', async () => {
  const page = await open(`${dashboard.queuesUrl}/queue/chat?status=completed`);
  await page.getByText('chat').first().waitFor();
  expect(await judge('board', page, 'theirs')).toBeGreaterThan(10);
});

test('/docs', async () => {
  const page = await open(`${api.url}/docs`);
  await page.locator('#operations-reading-listConversations').waitFor();
  expect(await judge('docs', page, 'theirs')).toBeGreaterThan(10);
});

test('axe does find a picture without words and a text too pale to read', async () => {
  const page = await open('about:blank');
  await page.setContent('<main><h1>x</h1><img src="a.png"><p style="color:#ccc;background:#fff">pale</p></main>');
  const before = findings.length;
  await judge('bad', page);
  const found = findings.splice(before).map((finding) => finding.split(' ')[1]);
  expect(found).toEqual(expect.arrayContaining(['image-alt', 'color-contrast', 'html-has-lang']));
});

test('axe finds nothing on any of them but what is accepted', () => {
  expect(disputes(findings, acceptedBy('axe'))).toEqual([]);
});
