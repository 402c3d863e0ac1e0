import { createReadStream } from 'node:fs';
import path from 'node:path';
import type { EmbeddedParts } from '../../../embedded/parts.ts';
import {
  type ChatInput,
  type FlushResult,
  MemoryCore,
  type Receipt,
  type ReflectionInput,
} from '../../../producers/index.ts';
import { MAX_ROWS } from '../../../shared/long-term/long-term.ts';
import { readLines } from '../../terminal/lines.ts';
import { progressBar } from '../../terminal/output.ts';

/** The number of saves at once. */
const IN_FLIGHT = 16;

export async function readSample<T>(name: string): Promise<T[]> {
  const file = path.join(import.meta.dirname, '../../sample', name);
  return Array.fromAsync(readLines(createReadStream(file), 1_000_000), ({ text }) => JSON.parse(text ?? '') as T);
}

export async function saveAll<T>(
  label: string,
  inputs: readonly T[],
  save: (input: T) => Promise<Receipt>,
): Promise<Receipt[]> {
  const bar = progressBar(label, inputs.length);
  const receipts: Receipt[] = [];
  for (let start = 0; start < inputs.length; start += IN_FLIGHT) {
    receipts.push(...(await Promise.all(inputs.slice(start, start + IN_FLIGHT).map(save))));
    bar.update(receipts.length);
  }
  bar.stop();
  return receipts;
}

export async function flushAll(memory: MemoryCore): Promise<FlushResult> {
  const { pendingQueueLength } = await memory.getStats();
  const bar = progressBar('turns flushed', pendingQueueLength);
  const { reason: _none, ...flush } = await memory.flushRedisToSupabase({
    onProgress: ({ flushedCount, totalPending }) => bar.update(flushedCount, totalPending),
  });
  bar.stop();
  return flush;
}

/** Counts with a plain request to the REST API and without the code of Mnemoq, which would not be a check. */
export async function countRows({ environment }: EmbeddedParts, contextIds: readonly string[]): Promise<number> {
  const key = environment['SUPABASE_SERVICE_ROLE_KEY'] ?? '';
  const list = contextIds.map((id) => `"${id}"`).join(',');
  const response = await fetch(
    `${environment['SUPABASE_URL']}/rest/v1/memories?select=id&context_id=in.(${encodeURIComponent(list)})`,
    {
      headers: { apikey: key, authorization: `Bearer ${key}`, prefer: 'count=exact' },
    },
  );
  return Number(response.headers.get('content-range')?.split('/')[1]);
}

export async function sameTexts(
  memory: MemoryCore,
  contextIds: readonly string[],
  turns: readonly ChatInput[],
  reflections: readonly ReflectionInput[],
): Promise<boolean> {
  const input = [...turns, ...reflections].toSorted((a, b) => ((a.createdAt ?? '') < (b.createdAt ?? '') ? -1 : 1));
  const answers = await Promise.all(
    contextIds.map(async (contextId) => {
      const expected = input.filter((each) => each.contextId === contextId).map(textsOf);
      const { items: records } = await memory.getMemoryContext(contextId, { limit: MAX_ROWS });
      return JSON.stringify(records.map(textsOf)) === JSON.stringify(expected);
    }),
  );
  return answers.every(Boolean);
}

function textsOf(each: {
  userMessage?: string;
  assistantMessage?: string;
  text?: string;
  reflectionText?: string;
}): unknown[] {
  return [each.userMessage ?? null, each.assistantMessage ?? null, each.text ?? each.reflectionText ?? null];
}
