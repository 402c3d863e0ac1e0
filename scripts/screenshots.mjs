/**
 * Makes the pictures of the dashboard in docs/ from the sample conversations, with embedded parts in a new folder. The picture of
 * the Chinese page needs fonts: apt-get install fonts-noto-cjk fonts-noto-color-emoji. With --discard they are made and
 * thrown away, which shows that they can be made.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startEmbeddedParts } from '../embedded/parts.ts';
import { startDashboard } from '../doors/dashboard/dashboard.ts';
import { MemoryCore } from '../producers/index.ts';
import { launchChromium } from '../test/support/clients/chromium.ts';
import { startWorker } from '../workers/worker.ts';

const root = path.join(import.meta.dirname, '..');
const VIEW = { width: 1360, height: 900 };

function sample(name) {
  const lines = readFileSync(path.join(root, 'cli/sample', name), 'utf8')
    .trim()
    .split('\n');
  return lines.map((line) => JSON.parse(line));
}

/** Saves the samples and flushes all turns but the last ones, so that the picture shows pending turns. */
async function fill(memory) {
  const turns = sample('turns.jsonl');
  const early = turns.slice(0, -6);
  for (const part of [early.slice(0, 24), early.slice(24, 45), early.slice(45)]) {
    await Promise.all(part.map((turn) => memory.saveChat(turn, { wait: true })));
    await memory.flushRedisToSupabase();
  }
  for (const reflection of sample('reflections.jsonl')) await memory.saveReflection(reflection, { wait: true });
  await Promise.all(turns.slice(-6).map((turn) => memory.saveChat(turn, { wait: true })));
}

const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-screenshots-'));
const pictures = process.argv.includes('--discard') ? dir : path.join(root, 'docs');
const parts = await startEmbeddedParts(dir);
const environment = {
  ...parts.environment,
  MEMORY_LOG_LEVEL: 'silent',
  MEMORY_DASHBOARD_PORT: '0',
  MEMORY_FLUSH_STRATEGY: 'off-peak',
  MEMORY_FLUSH_OFF_PEAK_CRON: '0 0 1 1 *',
};
const workers = await Promise.all(['chat', 'reflection', 'flush'].map((kind) => startWorker(kind, environment)));
const memory = new MemoryCore(environment);
const dashboard = await startDashboard(environment);
const browser = await launchChromium();
try {
  await fill(memory);
  const [username, password] = environment.MEMORY_API_KEYS.split(':');
  const open = async (options) =>
    (await browser.newContext({ viewport: VIEW, httpCredentials: { username, password }, ...options })).newPage();
  const shoot = async (page, name) => page.screenshot({ path: path.join(pictures, name) });

  const light = await open({ locale: 'en-GB', timezoneId: 'Asia/Taipei', colorScheme: 'light' });
  await light.goto(`${dashboard.url}/#c=balcony-garden`);
  await light.locator('[data-status="pinned"]').first().waitFor();
  await light.locator('.record').first().locator('.peek').click();
  await light.locator('.piece').first().waitFor();
  await light.locator('.reflection .button').first().click();
  await light.locator('.check').nth(6).waitFor();
  await shoot(light, 'memory-page.png');

  const dark = await open({ locale: 'zh-TW', timezoneId: 'Asia/Taipei', colorScheme: 'dark' });
  await dark.goto(`${dashboard.url}/#c=trip-taitung`);
  await dark.locator('[data-status="pinned"]').first().waitFor();
  await dark.locator('.record').first().locator('.peek').click();
  await dark.locator('.piece').first().waitFor();
  await shoot(dark, 'memory-page-dark-zh.png');

  const board = await open({ colorScheme: 'light' });
  await board.goto(`${dashboard.queuesUrl}/queue/flush?status=completed`);
  await board.getByText('batches').first().waitFor();
  await shoot(board, 'dashboard.png');
} finally {
  await browser.close();
  await dashboard.stop();
  await memory.close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await parts.stop();
  rmSync(dir, { recursive: true, force: true });
}
