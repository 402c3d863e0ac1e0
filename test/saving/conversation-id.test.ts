import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import { startApi } from '../../doors/http/server.ts';
import { validateSave, validateSaves } from '../../shared/records/conversation-id.ts';
import { chatInput } from '../../shared/records/jobs.ts';
import { listOf } from '../../shared/validate.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const SAID = { userId: 'user-1', userMessage: 'which name?', assistantMessage: 'any of them' };
const ALIASES = ['conversationId', 'conversation_id'] as const;

let stack: Stack;
let api: Awaited<ReturnType<typeof startApi>>;
beforeAll(async () => {
  stack = await startStack();
  api = await startApi({ ...stack.environment, MEMORY_API_PORT: '0' }, '1.0.0');
});
afterAll(async () => {
  await api.stop();
  await stack.stop();
});

async function post(path: string, body: object): Promise<{ status: number; json: Record<string, unknown> }> {
  const [, key = ''] = stack.environment['MEMORY_API_KEYS']?.split(',')[0]?.split(/:(.*)/s) ?? [];
  const response = await fetch(new URL(path, api.url), {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

describe.each(ALIASES)('%s', (alias) => {
  test('names the conversation of a save in TypeScript, and both names are in its receipt', async () => {
    const contextId = stack.newContextId();
    const input = { ...SAID, [alias]: contextId } as Parameters<typeof stack.memory.saveChat>[0];
    const expected = { contextId, conversationId: contextId };
    expect(await stack.memory.saveChat(input)).toMatchObject(expected);
    expect((await stack.memory.saveChats([input, input])).items).toMatchObject([expected, expected]);
    const text = { text: 'a text', [alias]: contextId } as never;
    const reflection = { reflectionText: 'a text', [alias]: contextId } as never;
    expect(await stack.memory.saveReflection(reflection)).toMatchObject(expected);
    expect(await stack.memory.saveFinetuneOutput(text)).toMatchObject(expected);
    expect(await stack.memory.saveKnowledge(text)).toMatchObject(expected);
  });

  test('names it over HTTP, and what is wrong is told by that name', async () => {
    const context_id = stack.newContextId();
    const said = { user_id: 'user-1', user_message: 'which name?', assistant_message: 'any of them' };
    const saved = await post('/memory/chat', { ...said, [alias]: context_id });
    expect([saved.status, saved.json]).toMatchObject([202, { context_id, conversation_id: context_id }]);
    const unequal = await post('/memory/chat', { ...said, context_id: 'another', [alias]: context_id });
    expect(unequal).toMatchObject({ status: 400, json: { code: 'invalid_input', problems: [{ field: alias }] } });
    expect((await post('/memory/chat', { ...said, [alias]: 7 })).json).toMatchObject({ problems: [{ field: alias }] });
    const cid = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy';
    const importing = await post('/memory/knowledge/import', { cid, [alias]: 7 });
    expect(importing).toMatchObject({ status: 400, json: { problems: [{ field: alias }] } });
    const reading = await post('/memory/reflection/request', { [alias]: context_id });
    expect([reading.status, reading.json['code']]).toEqual([400, 'invalid_input']);
  });

  test('names it in a job that another client has added, which an erasure finds', async () => {
    const contextId = stack.newContextId();
    const job = { ...SAID, id: uuidv7(), createdAt: '2026-01-01T00:00:00.000Z', [alias]: contextId };
    await stack.queue('chat').add('chat', job, { jobId: job.id });
    await stack.startWorkers('chat');
    await eventually(async () => (await stack.memory.getMemoryContext(contextId)).items.length === 1);
    expect(await stack.queue('chat').getJob(job.id)).toBeDefined(); // a finished job keeps its data for an hour
    const [late, other] = [stack.newContextId(), stack.newContextId()];
    const waiting = { ...job, id: uuidv7(), [alias]: late };
    const kept = { ...job, id: uuidv7(), [alias]: other };
    for (const each of [waiting, kept]) {
      await stack.queue('chat').add('chat', each, { jobId: each.id, delay: 600_000 });
    }
    expect((await stack.memory.forget({ contextId: late })).tiers.jobs).toBe(1);
    expect(await stack.queue('chat').getJob(waiting.id)).toBeUndefined();
    expect(await stack.queue('chat').getJob(kept.id)).toBeDefined();
  });
});

describe('the other names of a conversation', () => {
  const input = (fields: object) => validateSave(chatInput, { ...SAID, ...fields }, 'the turn');

  test('may stand beside contextId where they say the same, and nothing of them is kept', () => {
    expect(input({ contextId: 'c', conversationId: 'c', conversation_id: 'c' })).toEqual({ ...SAID, contextId: 'c' });
  });

  test.each([
    [{ contextId: 'c', conversationId: 'd' }, 'conversationId'],
    [{ contextId: 'c', conversationId: 'c', conversation_id: 'd' }, 'conversation_id'],
    [{ conversationId: 'c', conversation_id: 'd' }, 'conversation_id'],
    [{ conversation_id: '' }, 'conversation_id'],
    [{ contextId: '' }, 'contextId'],
    [{}, 'contextId'],
  ])('are told as they were written: %j', (fields, field) => {
    expect(() => input(fields)).toThrow(expect.objectContaining({ code: 'invalid_input' }));
    expect(() => input(fields)).toThrow(expect.objectContaining({ problems: [expect.objectContaining({ field })] }));
  });

  test('are told with their index in a list', () => {
    const list = [
      { ...SAID, contextId: 'c' },
      { ...SAID, conversation_id: 7 },
    ];
    const check = () => validateSaves(listOf(chatInput, 10), list, 'the turns', 10);
    expect(check).toThrow(
      expect.objectContaining({ problems: [expect.objectContaining({ field: '1.conversation_id' })] }),
    );
  });
});
