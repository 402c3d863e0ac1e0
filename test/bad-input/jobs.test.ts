import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Job } from 'bullmq';
import { v7 as uuidv7 } from 'uuid';
import type { QueueName } from '../../shared/queues.ts';
import {
  badChatFields,
  badCounts,
  badFlushFields,
  badReflectionFields,
  badRoots,
  type BadValue,
  badRowFields,
  inside,
  MARKER,
} from '../support/bad-values.ts';
import { eventually } from '../support/eventually.ts';
import { startStack, type Stack } from '../support/stack.ts';

const HEAD = { contextId: 'c', createdAt: '2025-10-19T15:42:10.000Z' };
const chat = () => ({ ...HEAD, id: uuidv7(), userId: 'u', userMessage: MARKER, assistantMessage: MARKER });
const reflection = () => ({ ...HEAD, id: uuidv7(), reflectionText: MARKER, visibility: 'private' });
const quarantined = () => ({
  row: {
    id: uuidv7(),
    user_id: 'u',
    context_id: 'c',
    tokens: { encoding: 'cl100k_base', text: [1] },
    text_cache: MARKER,
    module: 'chat',
    cid: null,
    created_at: HEAD.createdAt,
  },
  error: { code: '22P05', message: 'unsupported Unicode escape sequence' },
});
const missing = (...fields: string[]): BadValue[] =>
  fields.map((field) => ({ field, wrong: 'missing', value: undefined }));

/** What any BullMQ client may add to each queue, good and bad; a good quarantined job fails too, for it waits there. */
const JOBS: { name: QueueName; what: string; good: () => object; bad: BadValue[]; goodReason?: string }[] = [
  {
    name: 'chat',
    what: 'the chat job',
    good: chat,
    bad: inside(chat(), [...badChatFields, ...missing('id', 'createdAt')]),
  },
  {
    name: 'reflection',
    what: 'the reflection job',
    good: reflection,
    bad: inside(reflection(), [...badReflectionFields, ...missing('id', 'createdAt', 'visibility')]),
  },
  {
    name: 'flush',
    what: 'the flush job',
    good: () => ({ reason: 'a test' }),
    bad: inside({ reason: 'a test' }, [...badFlushFields, ...badCounts('batchSize', 1_000)]),
  },
  {
    name: 'quarantine',
    what: 'the quarantined job',
    good: quarantined,
    goodReason: 'refused (22P05): unsupported Unicode escape sequence',
    bad: [
      ...inside(quarantined(), missing('row', 'error')),
      ...inside(quarantined().row, badRowFields).map(({ field, wrong, value }) => ({
        field: `row.${field}`,
        wrong,
        value: { ...quarantined(), row: value },
      })),
    ],
  },
];

describe.each(JOBS)('a malformed job in the queue $name', ({ name, what, good, bad, goodReason }) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
    await stack.startWorkers(name === 'quarantine' ? 'flush' : name);
  });
  afterAll(() => stack.stop());

  async function ended(job: Job): Promise<Job> {
    return eventually(async () => {
      const now = await stack.queue(name).getJob(job.id ?? '');
      return now?.finishedOn ? now : null;
    }) as Promise<Job>;
  }

  test.each([...badRoots(what), ...bad])(
    '$wrong: fails at once, and the next job is done',
    async ({ field, value }) => {
      const before = await stack.client.keys('memory:*');
      const options = { attempts: 5, backoff: { type: 'fixed', delay: 1 } };
      const failed = await ended(await stack.queue(name).add(name, value, options));
      expect(failed).toMatchObject({ attemptsMade: 1, attemptsStarted: 1, returnvalue: null });
      expect(failed.failedReason).toMatch(`${what} is not valid: ${field === what ? '' : `${field}: `}expected `);
      expect(`${failed.failedReason} ${failed.stacktrace?.join()}`).not.toContain(MARKER);
      expect((await stack.client.keys('memory:*')).toSorted()).toEqual(before.toSorted());

      const next = await ended(await stack.queue(name).add(name, good()));
      expect(next.failedReason).toBe(goodReason);
    },
  );
});

test('a malformed job in quarantine hides no other: both are listed, and have a status', async () => {
  const stack = await startStack();
  try {
    await stack.startWorkers('flush');
    const jobs = [quarantined(), { nothing: MARKER }].map((data) => ({
      name: 'quarantine',
      data,
      opts: { jobId: uuidv7() },
    }));
    const [refused, malformed] = await stack.queue('quarantine').addBulk(jobs);
    await eventually(async () => (await stack.memory.getStats()).quarantined === 2);
    const listed = await stack.memory.listQuarantined();
    expect(listed.map(({ message }) => message).toSorted()).toEqual([
      expect.stringMatching(/^refused \(22P05\)/),
      expect.stringMatching(/^the quarantined job is not valid: /),
    ]);
    for (const job of [refused, malformed])
      expect(await stack.memory.getStatus(job?.id ?? '')).toMatchObject({ status: 'quarantined' });
  } finally {
    await stack.stop();
  }
});
