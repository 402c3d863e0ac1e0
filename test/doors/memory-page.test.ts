/// <reference lib="dom" />
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { type Dashboard, startDashboard } from '../../doors/dashboard/dashboard.ts';
import { launchChromium } from '../support/clients/chromium.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn, turns } from '../support/inputs/turns.ts';

const PAGE = path.join(import.meta.dirname, '../../doors/dashboard/page');
const KEYS = { tester: 'a-secret-of-the-service', mine: 'a-secret-of-one-user' };
const HOSTILE = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`;

let stack: Stack;
let dashboard: Dashboard;
let browser: Browser;
/** What no page may do: errors on its console, requests to elsewhere. */
let complaints: string[] = [];

beforeAll(async () => {
  const keys = `tester:${KEYS.tester},mine@user-1:${KEYS.mine}`;
  stack = await startStack({ environment: { MEMORY_DASHBOARD_PORT: '0', MEMORY_API_KEYS: keys } });
  await stack.startWorkers();
  dashboard = await startDashboard(stack.environment);
  browser = await launchChromium();
});
afterAll(async () => {
  await browser.close();
  await dashboard.stop();
  await stack.stop();
});
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  const made = complaints;
  complaints = [];
  if (made.length > 0) throw new Error(`the page complains:\n${made.join('\n')}`);
});

async function open(contextId?: string, options: BrowserContextOptions = {}, name: keyof typeof KEYS = 'tester') {
  const httpCredentials = { username: name, password: KEYS[name] };
  const context = await browser.newContext({ httpCredentials, locale: 'en-GB', reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(dashboard.url).origin) complaints.push(request.url());
  });
  const address = contextId === undefined ? '' : `#${new URLSearchParams({ c: contextId }).toString()}`;
  await page.goto(`${dashboard.url}/${address}`);
  return page;
}

async function save(...inputs: ReturnType<typeof turns>): Promise<string[]> {
  const receipts = await Promise.all(inputs.map((input) => stack.memory.saveChat(input, { wait: true })));
  return receipts.map(({ id }) => id);
}

const record = (page: Page, id: string) => page.locator(`.record[data-id="${id}"]`);

describe('the memory page', () => {
  test('finds a conversation by its beginning and shows its records in order, as text', async () => {
    const contextId = stack.newContextId();
    await save(turn(contextId, 1, { userMessage: HOSTILE }), turn(contextId, 2));
    await save(turn(`other ${contextId}`, 1));
    const page = await open();
    await page.getByRole('combobox').fill(contextId.slice(0, 20));
    await eventually(async () => (await page.getByRole('option').count()) === 1);
    await page.getByRole('option', { name: contextId }).click();
    await page.locator('.record').nth(1).waitFor();
    expect(await page.locator('.said-user .text').allInnerTexts()).toEqual([HOSTILE, 'question 2']);
    expect(await page.title()).toBe(`${contextId} · Mnemoq`);
    expect(await page.locator('.record img').count()).toBe(0);
    expect(new URL(page.url()).hash).toBe(`#${new URLSearchParams({ c: contextId }).toString()}`);
  });

  test('badges, pending length and flushes follow a flush without a reload', async () => {
    const contextId = stack.newContextId();
    const [id = ''] = await save(turn(contextId, 1));
    const page = await open(contextId);
    await expectTiers(page, id, ['cached', 'pending']);
    await page.getByRole('button', { name: 'Flush now' }).click();
    await expectTiers(page, id, ['committed']);
    await page.locator('.flush').first().getByText('committed').waitFor();
    expect(await page.locator('[data-pending]').innerText()).toBe('0');
    expect(await page.locator('[data-announcement]').innerText()).toMatch(/committed/);

    // What happens elsewhere is seen as well, and a turn that waits for its worker.
    const [next = ''] = await save(turn(contextId, 2));
    await expectTiers(page, next, ['cached', 'pending']);
    await stack.memory.flushRedisToSupabase();
    await expectTiers(page, next, ['committed']);
    await stack.queue('chat').pause();
    const queued = await stack.memory.saveChat(turn(contextId, 3));
    await expectTiers(page, queued.id, ['queued']);
    await stack.queue('chat').resume();
    await expectTiers(page, queued.id, ['cached', 'pending']);
    expect(await page.locator('#chart canvas').count()).toBe(1);
  });

  test.each([
    ['English', 'Cherry tomatoes cope best, I think.\n\nDo they?'],
    ['Chinese', '下次再規劃旅行，我應該從這個步調開始，不要把行程排滿。龘靐齉'],
    ['emoji', 'a family 👨‍👩‍👧, a flag 🇹🇼, skin 👋🏽, and \u{FEFF}a mark'],
  ])('pieces of tokens join to the text: %s', async (_name, text) => {
    const contextId = stack.newContextId();
    const [id = ''] = await save(turn(contextId, 1, { userMessage: text, assistantMessage: 'yes' }));
    const page = await open(contextId);
    const button = record(page, id).locator('.peek');
    // Who speaks to a computer says what is written on the button.
    const written = (await button.textContent())?.trim().replaceAll(/\s+/g, ' ');
    expect([written, await button.getAttribute('aria-label')]).toEqual([
      expect.stringMatching(/^\d+ Tokens$/),
      expect.stringContaining(`${written}: `),
    ]);
    await button.click();
    await record(page, id).locator('.piece').first().waitFor();
    const user = record(page, id).locator('.part').first();
    const glyphs = await user.locator('.glyph').evaluateAll((all) => all.map(({ textContent }) => textContent));
    expect(glyphs.join('')).toBe(text);
    expect(glyphs.join('')).not.toContain('\u{FFFD}');
    expect(await user.locator('.decoded').evaluate(({ textContent }) => textContent)).toBe(text);
    const shown = (await user.locator('.ids').allInnerTexts()).flatMap((ids) => ids.split(' ').map(Number));
    expect(stack.memory.decode(shown)).toBe(text);
  });

  test('verifies a reflection check by check, and tells which one a tampered row fails', async () => {
    const contextId = stack.newContextId();
    const reflection = { contextId, userId: 'user-1', reflectionText: 'I should ask first.' };
    const { id, cid } = await stack.memory.saveReflection(reflection, { wait: true });
    const page = await open(contextId);
    await expectTiers(page, id, ['committed', 'pinned']);
    expect(await page.locator('.cid').innerText()).toBe(cid);
    expect(await page.locator('.chip').innerText()).toBe('private');
    await page.getByRole('button', { name: /^Verify/ }).click();
    await page.getByText('Every check holds').first().waitFor();
    const names = ['fetched', 'cid', 'document', 'signature', 'key', 'row', 'digest', 'record', 'tokens'];
    expect(await checks(page, 'holds')).toEqual(names);

    await stack.supabase
      .from('memories')
      .update({ tokens: { encoding: 'cl100k_base', text: [1, 2] } })
      .eq('id', id);
    await page.getByRole('button', { name: /^Verify/ }).click();
    await page.getByText('Something does not hold').first().waitFor();
    expect(await checks(page, 'fails')).toEqual(['tokens']);
  });

  test('is walked through with the keyboard alone', async () => {
    const contextId = stack.newContextId();
    await save(...turns(contextId, 3));
    const page = await open();
    const focused = async () => page.evaluate(() => document.activeElement?.id || document.activeElement?.className);
    const tabTo = async (wanted: string) => {
      for (let presses = 0; presses < 20 && (await focused()) !== wanted; presses += 1)
        await page.keyboard.press('Tab');
      expect(await focused()).toBe(wanted);
    };
    await page.getByRole('option').first().waitFor();
    await tabTo('picker-input');
    expect(await page.locator('#picker-input').evaluate((input) => getComputedStyle(input).outlineStyle)).toBe('solid');
    await page.keyboard.type(contextId.slice(0, 30));
    await page.getByRole('option', { name: contextId }).waitFor();
    await eventually(async () => (await page.getByRole('option').count()) === 1);
    await page.keyboard.press('ArrowDown');
    expect(await page.locator('#picker-input').getAttribute('aria-activedescendant')).toBe('option-0');
    await page.keyboard.press('Enter');
    await eventually(async () => (await focused()) === 'conversation');
    await page.locator('.record').nth(2).waitFor();
    await tabTo('peek');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await page.locator('.record').nth(1).locator('.piece').first().waitFor();
    await page.keyboard.press('Escape');
    await eventually(async () => (await page.locator('.piece').count()) === 0);
    expect(await focused()).toBe('peek');
    await page.keyboard.press('Escape');
    expect(await focused()).toBe('picker-input');
  });

  test('a key bound to a user sees what is theirs, and no queues', async () => {
    const contextId = stack.newContextId();
    const [own = ''] = await save(turn(contextId, 1));
    const [foreign = ''] = await save(turn(contextId, 2, { userId: 'user-2' }));
    await save(turn(`secret ${contextId}`, 1, { userId: 'user-2' }));
    await stack.queue('chat').pause();
    await stack.memory.saveChat(turn(contextId, 3, { userId: 'user-2' }));
    const page = await open(contextId, {}, 'mine');
    await expectTiers(page, own, ['cached', 'pending']);
    expect(await page.locator('.record').count()).toBe(1);
    await stack.queue('chat').resume();
    expect(await page.getByRole('link', { name: 'Queues' }).count()).toBe(0);
    expect(await page.locator('[data-pending]').count()).toBe(0);
    await page.getByRole('combobox').fill('secret');
    await page.getByText('No conversation begins with that.').waitFor();

    const headers = { authorization: `Bearer ${KEYS.mine}` };
    const statusOf = async (pathname: string) => (await fetch(dashboard.url + pathname, { headers })).status;
    for (const pathname of ['/queues/', '/queues/api/queues', '/memory/stats', '/page/of/flushes']) {
      expect([pathname, await statusOf(pathname)]).toEqual([pathname, 403]);
    }
    expect(await statusOf(`/page/of/pieces/${foreign}`)).toBe(404);
    const statuses = await fetch(`${dashboard.url}/page/of/statuses?ids=${own},${foreign}`, { headers });
    expect(((await statuses.json()) as { items: { id: string }[] }).items.map(({ id }) => id)).toEqual([own]);
  });

  test.each(['light', 'dark'] as const)(
    'text has contrast enough in the %s, in both languages',
    async (colorScheme) => {
      const contextId = stack.newContextId();
      const [id = ''] = await save(turn(contextId, 1));
      await stack.memory.saveReflection({ contextId, userId: 'user-1', reflectionText: 'hm' }, { wait: true });
      const page = await open(contextId, { colorScheme, locale: 'zh-TW' });
      await expectTiers(page, id, ['已快取', '待寫入']);
      expect(await page.locator('html').getAttribute('lang')).toBe('zh-TW');
      await record(page, id).locator('.peek').click();
      await record(page, id).locator('.piece').first().waitFor();
      const selectors = [
        '.mark',
        '.sum',
        '.badge',
        '.chip',
        '.who',
        '.text',
        '.ids',
        '.hint',
        '.peek',
        '.button',
        '.option-more',
      ];
      const ratios = await page.evaluate(contrasts, selectors);
      expect(ratios.length).toBeGreaterThan(20);
      expect(ratios.filter(({ ratio }) => ratio < 4.5)).toEqual([]);

      await page.getByRole('button', { name: /English/ }).click();
      await page.getByText('committed').first().waitFor();
      await page.getByRole('button', { name: /theme$/ }).click();
      await page.reload();
      await page.getByText('committed').first().waitFor();
      expect(await page.locator('html').getAttribute('data-theme')).toBe(colorScheme === 'dark' ? 'light' : 'dark');
    },
  );

  test('fits a telephone, and everything to be pressed has a name', async () => {
    const contextId = stack.newContextId();
    await save(turn(contextId, 1, { userMessage: 'a'.repeat(300) }));
    const page = await open(contextId, { viewport: { width: 360, height: 740 } });
    await page.locator('.record').first().waitFor();
    await page.locator('.peek').click();
    await page.locator('.piece').first().waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    const nameless = await page
      .locator('button, a, input, [role="group"], [role="listbox"]')
      .evaluateAll(
        (all) => all.filter((each) => !(each.getAttribute('aria-label') ?? each.textContent)?.trim()).length,
      );
    expect(nameless).toBe(0);
    const ids = await page.locator('[id]').evaluateAll((all) => all.map(({ id }) => id));
    expect(ids).toEqual([...new Set(ids)]);
  });

  test('says what to do when the conversation is not there, and when nobody answers', async () => {
    const page = await open(stack.newContextId());
    await page.getByText('This conversation has no records.').waitFor();
    await page.route('**/memory/**', (route) => route.abort());
    await page.reload();
    await page.getByText('The server does not answer.').first().waitFor();
    complaints = complaints.filter((text) => !text.includes('ERR_FAILED'));
    await page.unroute('**/memory/**');
    await page.getByRole('button', { name: 'Try again' }).first().click();
    await page.getByText('This conversation has no records.').waitFor();
    expect(await page.getByText('The server does not answer.').count()).toBe(0);
  });
});

test('both languages have the same words, with the same gaps', async () => {
  const { en } = await import(path.join(PAGE, 'words/words-en.js'));
  const { zhTW } = await import(path.join(PAGE, 'words/words-zh-tw.js'));
  const gaps = (words: Record<string, string>) =>
    Object.entries(words).map(([word, text]) => [word, (text.match(/\{\w+\}/g) ?? []).toSorted()]);
  expect(gaps(zhTW)).toEqual(gaps(en));
});

test('the files of the page are served and nothing beside them', async () => {
  const headers = { authorization: `Bearer ${KEYS.tester}` };
  const ask = async (pathname: string) => fetch(dashboard.url + pathname, { headers });
  for (const file of readdirSync(PAGE).filter((each) => /\.(js|css|svg)$/.test(each))) {
    expect([file, (await ask(`/page/${file}`)).status]).toEqual([file, 200]);
  }
  for (const file of [
    'tsconfig.json',
    'lit-html/package.json',
    'uplot/uPlot.cjs.js',
    '../dashboard.ts',
    '%2e%2e/dashboard.ts',
  ]) {
    expect([file, (await ask(`/page/${file}`)).status]).toEqual([file, 404]);
  }
  const policy = (await ask('/')).headers.get('content-security-policy') ?? '';
  expect(policy).toContain("script-src 'self'; style-src 'self';");
  expect(policy).toContain("frame-ancestors 'none'");
});

async function expectTiers(page: Page, id: string, tiers: string[]): Promise<void> {
  const badges = record(page, id).locator('.badge');
  await eventually(async () => JSON.stringify(await badges.allInnerTexts()) === JSON.stringify(tiers));
}

async function checks(page: Page, outcome: 'holds' | 'fails') {
  return page.locator(`.check.${outcome}`).evaluateAll((all) => all.map((each) => each.getAttribute('data-check')));
}

/** Runs in the page: WCAG's contrast of each text with the ground behind it. */
function contrasts(selectors: string[]): { selector: string; ratio: number }[] {
  const channels = (color: string) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (color: string) => {
    const [r = 0, g = 0, b = 0] = channels(color).map((value) =>
      value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const groundOf = (element: Element | null): string => {
    if (!element) return 'rgb(255, 255, 255)';
    const { backgroundColor } = getComputedStyle(element);
    return channels(backgroundColor)[3] === 0 ? groundOf(element.parentElement) : backgroundColor;
  };
  return selectors.flatMap((selector) =>
    [...document.querySelectorAll(selector)].slice(0, 12).map((element) => {
      const pair = [luminance(getComputedStyle(element).color), luminance(groundOf(element))];
      return { selector, ratio: (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05) };
    }),
  );
}
