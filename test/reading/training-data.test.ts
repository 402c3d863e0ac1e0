import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { startApi } from '../../doors/http/server.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { type MemoryRecord, MODULES, toRow } from '../../shared/records/records.ts';
import { startCli } from '../support/clients/cli.ts';
import { runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';
import { record } from '../support/inputs/turns.ts';

/**
 * A line of OpenAI's supervised fine-tuning files, as its schema FineTuneChatRequestInput and its guide have it: roles and
 * contents, an answer last. `metadata` stands beside them, texts by name as in OpenAI's other objects.
 */
const openaiLine = z
  .strictObject({
    messages: z
      .array(
        z.discriminatedUnion('role', [
          z.strictObject({ role: z.literal('system'), content: z.string().min(1) }),
          z.strictObject({ role: z.literal('user'), content: z.string().min(1) }),
          z.strictObject({
            role: z.literal('assistant'),
            content: z.string().min(1),
            weight: z.literal([0, 1]).optional(),
          }),
        ]),
      )
      .min(2)
      .refine((messages) => messages.at(-1)?.role === 'assistant', 'ends with the assistant'),
    metadata: z.strictObject({ id: z.uuid() }),
  })
  .transform(({ messages, metadata }) => ({ id: metadata.id, texts: messages.map(({ content }) => content) }));

/** ShareGPT as LLaMA-Factory and axolotl read it: human at odd places, gpt at even ones, an even number of both. */
const sharegptLine = z
  .strictObject({
    id: z.uuid(),
    conversations: z
      .array(z.strictObject({ from: z.enum(['human', 'gpt']), value: z.string().min(1) }))
      .min(2)
      .refine((all) => all.length % 2 === 0 && all.every(({ from }, i) => from === (i % 2 === 0 ? 'human' : 'gpt'))),
  })
  .transform(({ id, conversations }) => ({ id, texts: conversations.map(({ value }) => value) }));

const ids = z.array(z.int().min(0).max(100_275)).min(1); // cl100k_base has no higher one
const head = {
  id: z.uuid(),
  userId: z.string().nullable(),
  contextId: z.string(),
  createdAt: z.iso.datetime({ precision: 3 }),
  encoding: z.literal('cl100k_base'),
};
const tokensLine = z.union([
  z.strictObject({ ...head, module: z.literal('chat'), user: ids, assistant: ids }),
  z.strictObject({ ...head, module: z.enum(['reflection', 'finetune', 'knowledge']), text: ids }),
]);

describe.each([CHOSEN_SUPABASE])('on the %s Supabase', (supabase) => {
  let stack: Stack;
  let memory: MemoryCore;
  beforeAll(async () => {
    stack = await startStack({ supabase });
    memory = stack.memory;
    await stack.startWorkers();
  });
  afterAll(async () => {
    await stack.stop();
  });

  type Options = Parameters<MemoryCore['exportTrainingData']>[0];
  const read = async <T>(line: z.ZodType<T>, options: Options): Promise<T[]> =>
    (await Array.fromAsync(memory.exportTrainingData(options))).map((text) => line.parse(JSON.parse(text)));

  async function insert(records: readonly MemoryRecord[]): Promise<void> {
    for (let from = 0; from < records.length; from += 1000) {
      const { error } = await stack.supabase.from('memories').insert(records.slice(from, from + 1000).map(toRow));
      expect(error).toBeNull();
    }
  }

  test('each line of each format is one that a strict reader takes, with the id of its record, in order', async () => {
    const [contextId, userId] = [stack.newContextId(), randomUUID()];
    const other = randomUUID();
    const at = (n: number) => `2025-10-0${n}T00:00:00.000Z`;
    const turn = async (n: number, user: string) =>
      memory.saveChat(
        { contextId, userId: user, userMessage: `問題 ${n} 👩‍👩‍👧`, assistantMessage: `answer "${n}"\n`, createdAt: at(n) },
        { wait: true },
      );
    const second = await turn(2, userId);
    const first = await turn(1, userId);
    const third = await turn(3, other);
    const pinned = { contextId, userId };
    const reflection = await memory.saveReflection(
      { ...pinned, reflectionText: '少說多聽', createdAt: at(4) },
      { wait: true },
    );
    const output = await memory.saveFinetuneOutput({ ...pinned, text: 'loss 0.5', createdAt: at(5) }, { wait: true });
    const item = await memory.saveKnowledge({ ...pinned, text: 'Water boils.', createdAt: at(6) }, { wait: true });
    await memory.flushRedisToSupabase();

    const all = [first, second, third, reflection, output, item].map(({ id }) => id);
    const texts = [
      ...[1, 2, 3].map((n) => [`問題 ${n} 👩‍👩‍👧`, `answer "${n}"\n`]),
      ...['少說多聽', 'loss 0.5', 'Water boils.'].map((text) => [expect.any(String), text]),
    ];
    const pairs = all.map((id, i) => ({ id, texts: texts[i] }));
    expect(await read(openaiLine, { contextId, format: 'openai' })).toEqual(pairs);
    expect(await read(sharegptLine, { contextId, format: 'sharegpt' })).toEqual(pairs);
    const tokens = await read(tokensLine, { contextId, format: 'tokens' });
    expect(
      tokens.map((line) => [
        line.id,
        ...('text' in line ? [line.text] : [line.user, line.assistant]).map((each) =>
          memory.decode(each, line.encoding),
        ),
      ]),
    ).toEqual(pairs.map(({ id, texts: both = [] }, i) => [id, ...(i < 3 ? both : both.slice(1))]));
    expect(await memory.countTrainingData({ contextId, format: 'openai' })).toBe(6);

    const idsOf = async (options: Omit<Options, 'format'>) =>
      (await read(openaiLine, { contextId, ...options, format: 'openai' })).map(({ id }) => id);
    for (const [i, module] of MODULES.entries()) {
      expect(await idsOf({ module })).toEqual(i === 0 ? all.slice(0, 3) : [all[i + 2]]);
    }
    expect(await idsOf({ userId: other })).toEqual([third.id]);
    expect(await idsOf({ userId, module: 'chat' })).toEqual([first.id, second.id]);
    expect(await idsOf({ from: at(2), to: at(4) })).toEqual([second.id, third.id]);
    expect(await memory.countTrainingData({ contextId, from: at(2), to: at(4), format: 'tokens' })).toBe(2);
  });

  test('records far larger than a page, and more of them than a page has, come once each', async () => {
    const contextId = stack.newContextId();
    const long = Array.from({ length: 600_000 }, () => 1);
    const big = Array.from({ length: 4 }, (_, n) =>
      record(contextId, n, { tokens: { encoding: 'cl100k_base', user: long, assistant: [n] } }),
    );
    const small = Array.from({ length: 2100 }, (_, n) => record(contextId, 10 + Math.floor(n / 50)));
    await insert(big);
    await insert(small);
    const requests = stack.proxy.requests.length;
    const lines = await Array.fromAsync(memory.exportTrainingData({ contextId, format: 'tokens' }));
    const sorted = [...big, ...small].toSorted((a, b) => (`${a.createdAt}${a.id}` < `${b.createdAt}${b.id}` ? -1 : 1));
    expect(lines.map((line) => JSON.parse(line).id)).toEqual(sorted.map(({ id }) => id));
    // Three of the large ones alone, the last with 999 small ones, the 1101 left in two; and one look that finds no more.
    expect(stack.proxy.requests.length - requests).toBe(2 * 6 + 1);
  });

  test('nothing of somebody who is being erased is exported, not even by an export that had begun', async () => {
    const [contextId, anna, ben] = [stack.newContextId(), randomUUID(), randomUUID()];
    const records = Array.from({ length: 2400 }, (_, n) => record(contextId, n, { userId: n % 2 === 0 ? anna : ben }));
    await insert(records);
    const lines = memory.exportTrainingData({ contextId, format: 'tokens' });
    const before = JSON.parse((await lines.next()).value).userId;
    await memory.forget({ userId: anna });
    await insert(records.slice(-2, -1)); // as if the erasure had not got to this row of hers yet
    const rest = (await Array.fromAsync(lines)).map((line) => JSON.parse(line).userId);
    expect(before).toBe(anna);
    // What was read before is a page; from then on there is nothing of hers.
    expect(rest.filter((userId) => userId === ben)).toHaveLength(1200);
    expect(rest.slice(1000).filter((userId) => userId === anna)).toEqual([]);
  });

  test('the command writes a file or nothing', async () => {
    const contextId = stack.newContextId();
    await insert(Array.from({ length: 1500 }, (_, n) => record(contextId, n)));
    const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-export-'));
    const file = path.join(dir, 'out.jsonl');
    const command = ['export', '--context', contextId, '--format', 'tokens', '--output', file];
    const { environment } = stack;
    try {
      let pages = 0;
      stack.proxy.fault = ({ url }) =>
        url.includes('select=id%2Cuser_id') && ++pages === 2 ? { status: 500, body: { message: 'down' } } : null;
      const failed = await runCommand(command, { environment });
      expect([failed.code, failed.stderr, existsSync(file)]).toEqual([3, expect.stringContaining('reading'), false]);

      pages = 0;
      stack.proxy.fault = ({ url }) =>
        url.includes('select=id%2Cuser_id') && ++pages === 2 ? { lateMs: 2_000 } : null;
      const stopped = startCli(command, { environment });
      await eventually(() => pages === 2);
      stopped.process.kill('SIGINT');
      const end = await stopped.ended;
      expect([end.code, end.stderr, existsSync(file)]).toEqual([1, expect.stringContaining('no file is kept'), false]);

      stack.proxy.fault = () => null;
      const done = await runCommand(command, { environment });
      expect([done.code, done.stderr]).toEqual([0, expect.stringMatching(/exporting +1500\/1500\n1500 lines written/)]);
      const written = readFileSync(file, 'utf8');
      expect(written.trimEnd().split('\n')).toHaveLength(1500);
      const again = await runCommand(command, { environment });
      expect([again.code, readFileSync(file, 'utf8') === written]).toEqual([1, true]);
    } finally {
      stack.proxy.fault = () => null;
      rmSync(dir, { recursive: true });
    }
  });

  describe('over HTTP', () => {
    const long = Array.from({ length: 1000 }, () => 1);
    let contextId: string;
    let api: Awaited<ReturnType<typeof startApi>>;
    let authorization: string;
    beforeAll(async () => {
      contextId = stack.newContextId();
      await insert(
        Array.from({ length: 4000 }, (_, n) =>
          record(contextId, n, { tokens: { encoding: 'cl100k_base', user: long, assistant: long } }),
        ),
      );
      api = await startApi({ ...stack.environment, MEMORY_API_PORT: '0' }, '1.0.0');
      authorization = `Bearer ${stack.environment['MEMORY_API_KEYS']?.split(':')[1]}`;
    });
    afterAll(async () => {
      stack.proxy.fault = () => null;
      await api.stop();
    });
    const ask = (signal?: AbortSignal) =>
      fetch(new URL(`/memory/export?format=tokens&context_id=${contextId}`, api.url), {
        headers: { authorization },
        ...(signal && { signal }),
      });
    const pagesRead = () => stack.proxy.requests.filter(({ url }) => url.includes('select=id%2Cuser_id')).length;

    test('a Supabase that fails on the way breaks the connection: an export that ends well is whole', async () => {
      let pages = 0;
      stack.proxy.fault = ({ url }) =>
        url.includes('select=id%2Cuser_id') && ++pages === 3 ? { status: 503, body: { message: 'down' } } : null;
      const broken = await ask();
      expect(broken.status).toBe(200);
      await expect(broken.text()).rejects.toThrow('terminated');
      stack.proxy.fault = () => null;
      expect((await (await ask()).text()).trimEnd().split('\n')).toHaveLength(4000);
    });

    test('a client that goes away ends the reading', async () => {
      const before = pagesRead();
      const gone = new AbortController();
      const response = await ask(gone.signal);
      await response.body?.getReader().read();
      // Nothing more is read than the connection holds, while the client reads nothing.
      gone.abort();
      await api.stop();
      const read = pagesRead() - before;
      expect(read).toBeGreaterThan(0);
      expect(read).toBeLessThan(8); // 4000 records of 2000 tokens are eight pages
    });
  });
});
