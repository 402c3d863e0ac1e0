import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import type { MemoryCore, MnemoqError } from '../producers/index.ts';
import { QUEUES } from '../shared/queues.ts';
import { chatInput, TEXT_BYTES } from '../shared/records.ts';
import { validate } from '../shared/validate.ts';
import {
  badChatFields,
  badCounts,
  badIdentifiers,
  badRecordIds,
  badReflectionFields,
  badRoots,
  badRowFields,
  type BadValue,
  inside,
  MARKER,
} from './support/bad-values.ts';
import { eventually } from './support/eventually.ts';
import { startStack, type Stack } from './support/stack.ts';

const ID = '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a';
const CREATED_AT = '2025-10-19T15:42:10.000Z';
const CHAT = { contextId: 'c', userId: 'u', userMessage: `${MARKER} asks`, assistantMessage: `${MARKER} answers` };
const REFLECTION = { contextId: 'c', reflectionText: `${MARKER} reflects`, visibility: 'private' };
const badChats = [...badRoots('the turn'), ...inside(CHAT, badChatFields)];
const badSecondChats = badChats.map((bad) => ({ ...bad, field: bad.field === 'the turn' ? '1' : `1.${bad.field}` }));
const badReflections = [
  ...badRoots('the reflection'),
  ...inside(REFLECTION, badReflectionFields),
  { field: 'sourceIds.1', wrong: 'a source that is no UUID', value: { ...REFLECTION, sourceIds: [ID, MARKER] } },
];
const cursor = (position: string) => Buffer.from(position).toString('base64url');
const badPages: BadValue[] = [
  ...badRoots('the options'),
  ...inside({}, [
    ...badCounts('limit', 1_000),
    ...[null, 5, '', MARKER, cursor(`${CREATED_AT}|x`), cursor(`2025-02-30T00:00:00.000Z|${ID}`), 'A'.repeat(201)].map(
      (value) => ({
        field: 'cursor',
        wrong: `is ${JSON.stringify(value)}`,
        value,
      }),
    ),
    { field: 'allowPartial', wrong: 'a text', value: 'yes' },
    { field: 'page', wrong: 'unknown', value: 2 },
  ]),
];
const badRecents = inside({}, [
  ...badCounts('limit', 1_000),
  ...badCounts('maxTokens', Number.MAX_SAFE_INTEGER),
  { field: 'format', wrong: 'unknown', value: MARKER },
  { field: 'max_tokens', wrong: 'of another spelling', value: 10 },
]);
const badWaits = inside(
  {},
  ['yes', 0, -1, 1.5, 600_001, null].map((value) => ({ field: 'wait', wrong: `is ${JSON.stringify(value)}`, value })),
);
const badFlushes: BadValue[] = [
  ...badRoots('the options'),
  ...inside({}, [
    ...badCounts('batchSize', 1_000),
    ...badCounts('wait', 600_000),
    { field: 'onProgress', wrong: 'a text', value: MARKER },
    { field: 'batch_size', wrong: 'of another spelling', value: 1 },
  ]),
];
const QUARANTINED = {
  id: ID,
  user_id: 'u',
  context_id: 'c',
  tokens: { encoding: 'cl100k_base', text: [1] },
  text_cache: `${MARKER} cached`,
  module: 'chat',
  cid: null,
  created_at: CREATED_AT,
};
const badRows: BadValue[] = [
  ...badRoots('the row'),
  ...inside(QUARANTINED, badRowFields),
  // The record is found by its id and conversation: with others it would never leave Redis.
  { field: 'id', wrong: 'the id of another record', value: { ...QUARANTINED, id: uuidv7() } },
  { field: 'context_id', wrong: 'another conversation', value: { ...QUARANTINED, context_id: 'd' } },
];
const badCids = [undefined, null, 5, '', MARKER, `/ipfs/${'b'.repeat(59)}`, 'Qm', 'b'.repeat(201)].map((value) => ({
  field: 'cid',
  wrong: String(value).slice(0, 30),
  value,
}));
const badIds = [{ field: 'id', wrong: 'missing', value: undefined }, ...badRecordIds('id')];
const badTokens = ([MARKER, null, [MARKER], [-1], [1.5], [2 ** 32], [Number.NaN], [200_000]] as const).map((value) => ({
  field: Array.isArray(value) && value[0] !== 200_000 ? '0' : 'tokens',
  wrong: inspect(value),
  value,
}));

/** Every way in with everything wrong that may come through it; `never` for what no type checker lets through. */
const DOORS: [door: string, bad: readonly BadValue[], call: (memory: MemoryCore, value: never) => unknown][] = [
  ['saveChat', badChats, (memory, value) => memory.saveChat(value)],
  ['saveChat, options', badWaits, (memory, value) => memory.saveChat(CHAT, value)],
  ['saveChats', badRoots('the turns').slice(0, 3), (memory, value) => memory.saveChats(value)],
  ['saveChats', badSecondChats, (memory, value) => memory.saveChats([CHAT, value])],
  ['saveReflection', badReflections, (memory, value) => memory.saveReflection(value)],
  ['saveReflection, options', badWaits, (memory, value) => memory.saveReflection(REFLECTION as never, value)],
  ['getMemoryContext', badIdentifiers('contextId'), (memory, value) => memory.getMemoryContext(value)],
  ['getMemoryContext, options', badPages, (memory, value) => memory.getMemoryContext('c', value)],
  ['loadRecentContext', badIdentifiers('contextId'), (memory, value) => memory.loadRecentContext(value)],
  ['loadRecentContext, options', badRecents, (memory, value) => memory.loadRecentContext('c', value)],
  ['getReflections', badIdentifiers('contextId'), (memory, value) => memory.getReflections(value)],
  ['getReflectionCid', badIdentifiers('contextId'), (memory, value) => memory.getReflectionCid(value)],
  ['getStatus', badIds, (memory, value) => memory.getStatus(value)],
  ['inspect', badIds, (memory, value) => memory.inspect(value)],
  ['verify', badCids, (memory, value) => memory.verify(value)],
  ['decode', badTokens, (memory, value) => memory.decode(value)],
  ['decode', badIdentifiers('encoding').slice(1), (memory, value) => memory.decode([1], value)],
  ['flushRedisToSupabase', badFlushes, (memory, value) => memory.flushRedisToSupabase(value)],
  ['retryQuarantined', badIds, (memory, value) => memory.retryQuarantined(value)],
  [
    'retryQuarantined, wait',
    badCounts('wait', 600_000),
    (memory, value) => memory.retryQuarantined(ID, undefined, value),
  ],
  ['retryQuarantined, row', badRows, (memory, value) => memory.retryQuarantined(QUARANTINED.id, value)],
];
const doorCases = DOORS.flatMap(([door, bad, call]) =>
  bad.map(({ wrong, field, value }) => ({ door, wrong, field, call, value })),
);

describe('validate', () => {
  const schema = z.strictObject({
    count: z.int().min(1).max(9),
    name: z.string().min(2).max(3).optional(),
    wait: z.union([z.boolean(), z.int()], 'true, false or ms').optional(),
    list: z
      .array(z.strictObject({ id: z.uuid() }))
      .max(1)
      .optional(),
  });

  test.each<[value: unknown, problems: string[]]>([
    [undefined, ['expected an object, received nothing']],
    [[], ['expected an object, received an array of 0']],
    [{}, ['count: expected a number, received nothing']],
    [{ count: 1.5 }, ['count: expected a whole number, received number 1.5']],
    [{ count: 0 }, ['count: expected at least 1, received number 0']],
    [{ count: 10n }, ['count: expected a number, received a bigint']],
    [{ count: '2025-10-19' }, ['count: expected a number, received "2025-10-19"']],
    [{ count: 1, name: '' }, ['name: expected at least 2 characters, received an empty string']],
    [{ count: 1, name: 'abcd' }, ['name: expected at most 3 characters, received a string of 4 characters']],
    [{ count: 1, wait: 'x' }, ['wait: expected true, false or ms, received a string of 1 character']],
    [{ count: 1, list: [{}, {}] }, ['list: expected at most 1, received an array of 2']],
    [
      { count: 1, list: [{ id: 'x', a: 1 }] },
      [
        'list.0.id: expected a UUID, received a string of 1 character',
        'list.0.a: expected no such field, received an unknown field',
      ],
    ],
    [
      { count: 1, name: 5, 'a b': 1 },
      [
        'name: expected a string, received number 5',
        '(a name of 3 characters): expected no such field, received an unknown field',
      ],
    ],
  ])('says of %j all that is wrong', async (value, problems) => {
    const error = await errorOf(async () => validate(schema, value, 'it'));
    expect(error.message).toBe(`it is not valid: ${problems.join('; ')}`);
    expect(error.problems).toHaveLength(problems.length);
  });

  test.each([
    ['an identifier of 512 characters', { contextId: 'x'.repeat(512) }],
    ['a text of 2 MiB', { userMessage: 'x'.repeat(TEXT_BYTES) }],
    [
      'a text of 2 MiB, all but a byte, of three-byte characters',
      { userMessage: '字'.repeat(Math.floor(TEXT_BYTES / 3)) },
    ],
    ['a text with a NUL and a lone surrogate', { userMessage: 'a\0\uD83D' }],
    ['the first moment', { createdAt: '1970-01-01T00:00:00.000Z' }],
    ['a leap day', { createdAt: '2024-02-29T00:00:00.000Z' }],
  ])('takes %s as it is', (_, more) => {
    expect(validate(chatInput, { ...CHAT, ...more }, 'the turn')).toEqual({ ...CHAT, ...more });
  });

  test.each([
    ['2025-10-19T15:42:10+08:00', '2025-10-19T07:42:10.000Z'],
    ['2025-10-19T15:42:10.123456789Z', '2025-10-19T15:42:10.123Z'],
    ['2025-12-31T23:59:59-01:00', '2026-01-01T00:59:59.000Z'],
  ])('turns the moment %s into UTC and milliseconds', (createdAt, expected) => {
    expect(validate(chatInput, { ...CHAT, createdAt }, 'the turn')).toMatchObject({ createdAt: expected });
  });

  test('turns ids into small letters, so that one record has one id', () => {
    expect(validate(chatInput, { ...CHAT, id: ID.toUpperCase() }, 'the turn').id).toBe(ID);
  });
});

describe('a wrong argument', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
    // BullMQ notes each queue when it is first used; afterwards nothing may change.
    await Promise.all(QUEUES.map((name) => stack.queue(name).waitUntilReady()));
    const [worker] = await stack.startWorkers('flush');
    const data = { row: QUARANTINED, error: { code: '22P05', message: 'refused' } };
    await stack.queue('quarantine').add('quarantine', data, { jobId: ID });
    await eventually(async () => (await stack.memory.getStats()).quarantined === 1);
    await worker?.stop();
  });
  afterAll(() => stack.stop());

  /** All keys, and what waits in quarantine, which a retry might spoil. */
  async function stored() {
    const quarantined = await stack.queue('quarantine').getJob(ID);
    return { keys: (await stack.client.keys('*')).toSorted(), row: quarantined?.data.row };
  }

  test.each(doorCases)('$door: $wrong is refused, and nothing is stored', async ({ call, value, field }) => {
    const before = await stored();
    const error = await errorOf(async () => call(stack.memory, value as never));
    expect(error).toMatchObject({ name: 'MnemoqError', code: 'invalid_input' });
    expect([...new Set(error.problems.map((problem) => problem.field))]).toEqual([field]);
    expect(error.message).toContain(`expected ${error.problems[0]?.expected}, received ${error.problems[0]?.received}`);
    expect(inspect(error, { depth: null })).not.toContain(MARKER);
    expect(await stored()).toEqual(before);
  });
});

/** What the call throws. */
async function errorOf(act: () => Promise<unknown>): Promise<MnemoqError> {
  const outcome = await act().catch((error: unknown) => error);
  if (outcome instanceof Error) return outcome as MnemoqError;
  throw new Error(`it was not refused, and gave ${inspect(outcome)}`);
}
