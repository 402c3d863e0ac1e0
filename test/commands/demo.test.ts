import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ChatInput, ReflectionInput } from '../../producers/index.ts';
import { encode } from '../../shared/records/tokenizer.ts';
import { runCli } from '../support/clients/cli.ts';

const ROOT = path.join(import.meta.dirname, '../..');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-demo-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function sample<T>(name: string): T[] {
  const lines = readFileSync(path.join(ROOT, 'cli', 'sample', name), 'utf8')
    .trimEnd()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as T);
}

describe('the demo', () => {
  test('does the main job on the sample, checks every step, and whatever the user has set does not reach it', async () => {
    writeFileSync(path.join(dir, '.env'), 'REDIS_URL=redis://127.0.0.1:1\nMEMORY_MEMORIES_TABLE=elsewhere\n');
    const environment = { MEMORY_WRITE_MODE: 'immediate', MEMORY_ENCODING: 'gpt2' };
    const ended = await runCli(['demo', '--json'], { environment, cwd: dir });
    expect(ended).toMatchObject({ code: 0, signal: null });
    const { checks, reflections, ...result } = JSON.parse(ended.stdout);

    const turns = sample<ChatInput>('turns.jsonl');
    const thoughts = sample<ReflectionInput>('reflections.jsonl');
    const texts = turns.flatMap(({ userMessage, assistantMessage }) => [userMessage, assistantMessage]);
    const tokens = texts.reduce((sum, text) => sum + encode(text, 'cl100k_base').length, 0);
    expect(result).toMatchObject({
      ok: true,
      turnsQueued: turns.length,
      cached: turns.length,
      tokens,
      flush: { success: true, totalPending: turns.length, flushedCount: turns.length, failedCount: 0 },
      rowsInSupabase: turns.length + thoughts.length,
      recalled: { contextId: expect.stringContaining(turns[0]?.contextId ?? '') },
      decodedEqualsInput: true,
    });
    expect(result.recalled.items).toBeGreaterThan(0);
    expect(result.recalled.tokenCount).toBeLessThanOrEqual(result.recalled.maxTokens);
    expect(reflections).toEqual(
      thoughts.map(({ visibility }) => ({ visibility, verified: true, cid: expect.stringMatching(/^bafkrei/) })),
    );
    expect(new Set(reflections.map(({ cid }: { cid: string }) => cid)).size).toBe(thoughts.length);
    expect(checks.length).toBe(7 + thoughts.length);
    expect(checks.filter(({ ok }: { ok: boolean }) => !ok)).toEqual([]);
  });
});
