import { expect } from '@jest/globals';
import * as fc from 'fast-check';
import type { ChatJob } from '../../shared/records/jobs.ts';
import { type Bench, CONTEXTS, isInsert } from './bench.ts';
import { always, command, type ModelCommand, pick } from './command.ts';
import type { Model, ModelRecord } from './model.ts';
import { kept, KINDS_OF_TEXT, KINDS_OF_TIME, textOf, tokensOf, whenOf } from './texts.ts';

const USER = 'user-1';
/** There are few names, so that the same thing is often saved again. */
const NAMES = 8;

const conversation = fc.constantFrom(...CONTEXTS);
const which = fc.nat({ max: 1000 });
const textKind = fc.nat({ max: KINDS_OF_TEXT - 1 });
const time = fc.nat({ max: KINDS_OF_TIME - 1 });
const name = fc.nat({ max: NAMES - 1 });

/** Returns the same id for the same name in every run. The order of the ids is not that of the names. */
function explicitId(contextId: string, number: number): string {
  const digits = `${CONTEXTS.indexOf(contextId as never)}${(number * 5) % NAMES}`;
  return `018f0000-0000-7000-8000-0000000000${digits}`;
}

const save = command(
  'save',
  fc.record({
    contextId: conversation,
    name,
    by: fc.constantFrom('id', 'key'),
    time,
    text: textKind,
    important: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  }),
  always,
  async (model, bench, { contextId, name, by, time, text, important }) => {
    const called = `${by} ${name} of ${contextId}`;
    const known = model.records.get(model.ids.get(called) ?? '');
    // While the queue knows the job, a save with the same name may have another content. Later it is the same turn, sent once
    // more.
    const when = whenOf(time);
    const fresh = {
      userMessage: textOf(text, `question ${name} ${model.steps}`),
      assistantMessage: textOf(text + 1, `answer ${name}`),
      createdAt: when.kept,
      important,
    };
    const again = known?.job && !known.jobKept ? known.job : fresh;
    const { userMessage, assistantMessage, createdAt } = again;
    const receipt = await bench.stack.memory.saveChat({
      contextId,
      userId: USER,
      userMessage,
      assistantMessage,
      createdAt: again === fresh ? when.given : createdAt,
      important: again.important ?? false,
      ...(by === 'id' ? { id: explicitId(contextId, name) } : { idempotencyKey: `key ${name}` }),
    });
    expect(receipt).toMatchObject({ success: true, redisStored: true, conversationId: contextId });
    if (known) expect(receipt.id).toBe(known.id);
    else expect(model.records.has(receipt.id)).toBe(false);
    // A save that has resolved is in Redis, whatever happens next.
    expect(await (await bench.stack.queue('chat').getJob(receipt.id))?.getState()).toBeDefined();
    const job: ChatJob = { id: receipt.id, contextId, userId: USER, ...fresh };
    const record = known ?? model.add({ id: receipt.id, contextId, createdAt, text: textsOf(job), job });
    model.ids.set(called, record.id);
    record.queued ||= !record.jobKept;
    record.jobKept = true;
  },
);

function textsOf({ userMessage, assistantMessage }: ChatJob): ModelRecord['text'] {
  return { userMessage: kept(userMessage), assistantMessage: kept(assistantMessage) };
}

const hasQueued = (model: Readonly<Model>) => model.where(({ queued }) => queued).length > 0;

const work = command('work', fc.record({ outage: fc.boolean() }), hasQueued, async (model, bench, { outage }) => {
  if (outage) bench.failSupabase({ fault: (request) => (isInsert(request) ? { status: 503 } : null) });
  const job = await bench.step('chat', (job) => bench.chat(job));
  bench.healSupabase();
  const record = queuedRecord(model, job?.id);
  const important = record.job?.important === true;
  expect(job?.returnvalue).toEqual({ tokenCount: tokensOf(record.text), supabaseStored: important && !outage });
  record.queued = false;
  model.deliver(record, important && !outage, await isPending(bench, record));
});

const crash = command(
  'crashOfTheChatWorker',
  fc.record({ afterRemembering: fc.boolean() }),
  hasQueued,
  async (model, bench, { afterRemembering }) => {
    const job = await bench.nextJob('chat');
    const record = queuedRecord(model, job?.id);
    if (!job) throw new Error('there is a queued record and no job');
    if (afterRemembering) {
      await bench.chat(job);
      model.deliver(record, record.job?.important === true, await isPending(bench, record));
    }
    await bench.crash(job);
  },
);

const redeliver = command(
  'redeliver',
  which,
  (model) => model.where(isDelivered).length > 0,
  async (model, bench, number) => {
    const record = pick(model.where(isDelivered), number);
    await bench.chat({ data: record.job } as never);
    model.deliver(record, record.job?.important === true, await isPending(bench, record));
  },
);

const forgetJob = command(
  'forgetJob',
  which,
  (model) => model.where(isFinished).length > 0,
  async (model, bench, number) => {
    const record = pick(model.where(isFinished), number);
    await (await bench.stack.queue('chat').getJob(record.id))?.remove();
    record.jobKept = false;
  },
);

const reflect = command(
  'reflect',
  fc.record({ contextId: conversation, name, time, text: textKind }),
  (model, { contextId, name }) => !model.ids.has(`reflection ${name} of ${contextId}`),
  async (model, bench, { contextId, name, time, text }) => {
    const reflectionText = textOf(text, `reflection ${name}`);
    const when = whenOf(time);
    const input = { contextId, reflectionText, createdAt: when.given, idempotencyKey: `key ${name}` };
    const { id } = await bench.stack.memory.saveReflection(input);
    await bench.step('reflection', (job) => bench.reflection(job));
    model.ids.set(`reflection ${name} of ${contextId}`, id);
    const record = model.add({
      id,
      contextId,
      createdAt: when.kept,
      text: { text: kept(reflectionText) },
      job: null,
    });
    Object.assign(record, { remembered: true, row: true });
    expect(await bench.stack.memory.getStatus(id)).toMatchObject({ status: 'pinned' });
  },
);

const isDelivered = ({ job, remembered }: ModelRecord) => job !== null && remembered;
const isFinished = ({ jobKept, queued }: ModelRecord) => jobKept && !queued;

function queuedRecord(model: Model, id: string | undefined): ModelRecord {
  const record = model.find(id ?? 'a record whose job is in the queue');
  expect(record.queued).toBe(true);
  return record;
}

async function isPending(bench: Bench, { id }: ModelRecord): Promise<boolean> {
  return (await bench.pending()).includes(id);
}

/** The steps by which records come in, and how often each is chosen beside the others. */
export const SAVING: [weight: number, step: fc.Arbitrary<ModelCommand>][] = [
  [5, save],
  [5, work],
  [1, crash],
  [3, redeliver],
  [1, forgetJob],
  [1, reflect],
];
