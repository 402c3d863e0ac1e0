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
} from '../support/inputs/bad-values.ts';
import { startCli } from '../support/clients/cli.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

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

/** What an honest client would not add. */
const ODD_JOBS: [name: string, data: unknown, field: string][] = [
  ['of 8 MB', { ...chat(), userMessage: MARKER.padEnd(8_000_000, 'x') }, 'userMessage'],
  [
    'with 8 MB in a field of a later release',
    { ...chat(), version: 2, attachments: MARKER.padEnd(8_000_000, 'x') },
    'version',
  ],
  [
    'with a hundred thousand unknown fields',
    { ...chat(), ...Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`f${n}`, MARKER])) },
    'f0',
  ],
  ['of a list of a hundred thousand jobs', Array.from({ length: 100_000 }, chat), ''],
];

describe('an odd job of another client', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
    await stack.startWorkers('chat');
  });
  afterAll(() => stack.stop());

  test.each(ODD_JOBS)('%s fails with a short reason', async (_name, data, field) => {
    const queue = stack.queue('chat');
    const { id = '' } = await queue.add('chat', data);
    const failed = await eventually(async () => {
      const job = await queue.getJob(id);
      return job?.finishedOn ? job : null;
    });
    expect(failed?.failedReason).toMatch(`the chat job is not valid: ${field && `${field}: `}expected `);
    expect(failed?.failedReason.length).toBeLessThan(3_000);
    expect(`${failed?.failedReason} ${failed?.stacktrace?.join()}`).not.toContain(MARKER);
    await failed?.remove();
  });

  test.each([
    ['an id of another record', () => ({ jobId: uuidv7() })],
    ['an id like a path', () => ({ jobId: '../../etc/passwd' })],
    ['an id of objects', () => ({ jobId: '__proto__' })],
    ['a glob as id', () => ({ jobId: '*' })],
    ['attempts without end', () => ({ attempts: Number.MAX_SAFE_INTEGER })],
    ['a backoff nobody knows', () => ({ backoff: { type: 'nobody knows it' } })],
    ['the lowest priority', () => ({ priority: 2_097_151 })],
  ])('%s is its own matter: a good turn is cached', async (_name, options) => {
    const data = { ...chat(), contextId: stack.newContextId() };
    await stack.queue('chat').add('chat', data, options());
    const cached = async () => stack.client.hexists(`memory:conversation:${data.contextId}`, data.id);
    expect(await eventually(cached)).toBe(1);
  });

  test('data that is not even JSON harms no other job', async () => {
    const queue = stack.queue('chat');
    await queue.pause();
    const broken = await queue.add('chat', chat());
    await stack.client.hset(queue.toKey(broken.id ?? ''), 'data', `{"userMessage":"${MARKER}`);
    const good = await queue.add('chat', chat());
    await queue.resume();
    const result = await eventually(async () => (await queue.getJob(good.id ?? ''))?.returnvalue);
    expect(result).toMatchObject({ supabaseStored: false });
  });
});

test('what a worker logs about bad jobs says nothing of their text', async () => {
  const stack = await startStack();
  const worker = startCli(['worker', 'chat'], { environment: { ...stack.environment, MEMORY_LOG_LEVEL: 'trace' } });
  try {
    const bad = [...badRoots('the chat job'), ...inside(chat(), badChatFields)];
    await stack.queue('chat').addBulk(bad.map(({ value }) => ({ name: 'chat', data: value, opts: { attempts: 3 } })));
    await eventually(async () => (await stack.queue('chat').getFailedCount()) === bad.length);
    await eventually(() => worker.said.stderr.split('job failed').length > bad.length);
    worker.process.kill('SIGTERM');
    const { code, stdout, stderr } = await worker.ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).not.toContain(MARKER);
    expect(await stack.client.keys('memory:*')).toEqual([]);
  } finally {
    worker.process.kill('SIGKILL');
    await stack.stop();
  }
});

test('a malformed job in quarantine hides no other: both are listed, and have a status', async () => {
  const stack = await startStack();
  try {
    await stack.startWorkers('flush');
    const halves = { ...quarantined(), error: { code: MARKER } };
    const jobs = [quarantined(), { nothing: MARKER }, halves].map((data) => ({
      name: 'quarantine',
      data,
      opts: { jobId: uuidv7() },
    }));
    const added = await stack.queue('quarantine').addBulk(jobs);
    await eventually(async () => (await stack.memory.getStats()).quarantined === 3);
    const { items: listed } = await stack.memory.listQuarantined();
    expect(listed.map(({ reason }) => reason).toSorted()).toEqual([
      expect.stringMatching(/^refused \(22P05\)/),
      expect.stringMatching(/^the quarantined job is not valid: error\.message: expected /),
      expect.stringMatching(/^the quarantined job is not valid: row: expected /),
    ]);
    expect(listed.map(({ id }) => id).toSorted()).toEqual(added.map(({ id = '' }) => id).toSorted());
    expect(JSON.stringify(listed)).not.toContain(MARKER);
    for (const { id = '' } of added) {
      const { status, reason } = await stack.memory.getStatus(id);
      expect([status, reason]).toEqual(['quarantined', expect.not.stringContaining(MARKER)]);
    }
    const row = { ...quarantined().row, id: added[1]?.id ?? '', text_cache: null };
    expect(await stack.memory.retryQuarantined(row.id, { row })).toEqual({ committed: true, reason: null });
  } finally {
    await stack.stop();
  }
});
