/**
 * **test/bad-input/**: what is wrong with an input is refused by every way in, by name and before anything is stored. What a
 * good input does is tested in the folder of its subject.
 */
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import type { MemoryCore, MnemoqError } from '../../producers/index.ts';
import { toSortable } from '../../shared/moments.ts';
import { TURNS_AT_ONCE, TURNS_BYTES } from '../../producers/saving/new-job.ts';
import { QUEUES } from '../../shared/queues.ts';
import { TEXT_BYTES } from '../../shared/records/jobs.ts';
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
  nested,
} from '../support/inputs/bad-values.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const ID = '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a';
/** A conversation that no other test file writes to. */
const CONTEXT = `bad input ${uuidv7()}`;
const CREATED_AT = '2025-10-19T15:42:10.000Z';
const CHAT = { contextId: CONTEXT, userId: 'u', userMessage: `${MARKER} asks`, assistantMessage: `${MARKER} answers` };
const REFLECTION = { contextId: CONTEXT, reflectionText: `${MARKER} reflects`, visibility: 'private' };
/** What no JSON can carry, and what may only come from a caller in this process. */
const badInProcess = (field: string): BadValue[] =>
  [Symbol(MARKER), () => MARKER, 10n, new String(MARKER), new Map([[MARKER, MARKER]]), Number.NaN].map((value) => ({
    field,
    wrong: `a ${Object.prototype.toString.call(value)}`,
    value,
  }));
const cyclic: Record<string, unknown> = { ...CHAT };
cyclic['self'] = cyclic;
const throwing = () => {
  throw new Error(MARKER);
};
const sparse = (length: number) => Object.assign([], { length });
const revoked = Proxy.revocable({}, {});
revoked.revoke();
/** Reading these throws, and what is thrown is the caller's text. */
const unreadable = (field: string, good: object, key: string): BadValue[] => [
  {
    field,
    wrong: 'with a getter that throws',
    value: Object.defineProperty({ ...good }, key, { get: throwing, enumerable: true }),
  },
  { field, wrong: 'a proxy that throws', value: new Proxy({}, { get: throwing, ownKeys: throwing }) },
  { field, wrong: 'a revoked proxy', value: revoked.proxy },
];
const badChats = [
  ...badRoots('the turn'),
  ...inside(CHAT, badChatFields),
  ...inside(CHAT, ['contextId', 'userMessage', 'createdAt', 'id', 'important'].flatMap(badInProcess)),
  { field: 'self', wrong: 'with a cycle', value: cyclic },
  { field: 'idempotencyKey', wrong: 'with a key beside an id', value: { ...CHAT, id: ID, idempotencyKey: MARKER } },
  { field: 'userMessage', wrong: 'nested a hundred thousand deep', value: { ...CHAT, userMessage: nested(1e5) } },
  { field: 'userMessage', wrong: 'of 64 MiB', value: { ...CHAT, userMessage: MARKER.padEnd(32 * TEXT_BYTES) } },
];
const badTurnLists: BadValue[] = [
  ...badRoots('the turns').slice(0, 3),
  { field: '0', wrong: 'a sparse list', value: [, CHAT] }, // oxlint-disable-line no-sparse-arrays
  { field: 'the turns', wrong: 'one too many', value: Array.from({ length: TURNS_AT_ONCE + 1 }, () => CHAT) },
  { field: 'the turns', wrong: 'a million of them', value: Array.from({ length: 1_000_000 }, () => CHAT) },
  { field: 'the turns', wrong: 'as many as an array can have', value: sparse(2 ** 32 - 1) },
  {
    field: 'the turns',
    wrong: 'more text than goes in one transaction',
    value: Array.from({ length: TURNS_BYTES / TEXT_BYTES + 1 }, () => ({
      ...CHAT,
      userMessage: MARKER.padEnd(TEXT_BYTES),
    })),
  },
];
const badSecondChats = badChats.map((bad) => ({ ...bad, field: bad.field === 'the turn' ? '1' : `1.${bad.field}` }));
const badReflections = [
  ...badRoots('the reflection'),
  ...inside(REFLECTION, badReflectionFields),
  {
    field: 'idempotencyKey',
    wrong: 'with a key beside an id',
    value: { ...REFLECTION, id: ID, idempotencyKey: MARKER },
  },
  {
    field: 'sourceIds',
    wrong: 'as many sources as an array can have',
    value: { ...REFLECTION, sourceIds: sparse(2 ** 32 - 1) },
  },
  ...inside(REFLECTION, ['reflectionText', 'visibility', 'sourceIds'].flatMap(badInProcess)),
  { field: 'sourceIds.1', wrong: 'a source that is no UUID', value: { ...REFLECTION, sourceIds: [ID, MARKER] } },
];
const cursor = (position: string) => Buffer.from(position).toString('base64url');
const badCursors = [
  null,
  5,
  '',
  MARKER,
  'A'.repeat(201),
  cursor(`${toSortable(CREATED_AT)}|x`),
  cursor(ID),
  cursor(`2025-02-30T00:00:00.000000Z|${ID}`),
  cursor(`2025-10-19T15:42:10.000000000Z|${ID}`),
  cursor(`0000-01-01T00:00:00.000000Z|${ID}`),
  cursor(`-000001-01-01T00:00:00.000000Z|${ID}`),
  cursor(`+010000-01-01T00:00:00.000000Z|${ID}`),
  cursor(`${toSortable(CREATED_AT)}),or(id.gt.0|${ID}`),
  cursor(`${toSortable(CREATED_AT)}|${ID}),or(id.gt.0`),
  cursor(`${toSortable(CREATED_AT)}|${ID}|${MARKER}`),
  cursor(`${toSortable(CREATED_AT)}|${ID}\0`),
];
const badPages: BadValue[] = [
  ...badRoots('the options'),
  ...inside({}, [
    ...badCounts('limit', 1_000),
    ...badInProcess('limit'),
    { field: 'limit', wrong: 'infinite', value: Number.POSITIVE_INFINITY },
    { field: 'limit', wrong: 'negative zero', value: -0 },
    ...badCursors.map((value) => ({ field: 'cursor', wrong: `is ${JSON.stringify(value)}`, value })),
    { field: 'allowPartial', wrong: 'a text', value: 'yes' },
    { field: 'page', wrong: 'unknown', value: 2 },
  ]),
];
const badRecents = inside({}, [
  ...badCounts('limit', 1_000),
  ...badCounts('maxTokens', Number.MAX_SAFE_INTEGER),
  { field: 'format', wrong: 'unknown', value: MARKER },
  { field: 'format', wrong: 'a name of objects', value: 'constructor' },
  { field: 'max_tokens', wrong: 'of another spelling', value: 10 },
]);
const badWait = ['yes', 0, -1, 1.5, 600_001, null].map((value) => ({
  field: 'wait',
  wrong: `is ${JSON.stringify(value)}`,
  value,
}));
const badWaits = inside({}, badWait);
const badFlushes: BadValue[] = [
  ...badRoots('the options'),
  ...inside({}, [
    ...badCounts('batchSize', 1_000),
    ...badWait,
    { field: 'onProgress', wrong: 'a text', value: MARKER },
    { field: 'batch_size', wrong: 'of another spelling', value: 1 },
  ]),
];
const QUARANTINED = {
  id: ID,
  user_id: 'u',
  context_id: CONTEXT,
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
  { field: 'tokens', wrong: 'with a bigint', value: { ...QUARANTINED, tokens: { ...QUARANTINED.tokens, more: 1n } } },
  {
    field: 'tokens',
    wrong: 'with a cycle',
    value: { ...QUARANTINED, tokens: { ...QUARANTINED.tokens, more: cyclic } },
  },
  {
    field: 'tokens',
    wrong: 'too deep to be written',
    value: { ...QUARANTINED, tokens: { ...QUARANTINED.tokens, more: nested(1e5) } },
  },
  { field: 'context_id', wrong: 'another conversation', value: { ...QUARANTINED, context_id: 'd' } },
];
const badCids = [undefined, null, 5, '', MARKER, `/ipfs/${'b'.repeat(59)}`, 'Qm', 'b'.repeat(201)].map((value) => ({
  field: 'cid',
  wrong: String(value).slice(0, 30),
  value,
}));
const badIds = [{ field: 'id', wrong: 'missing', value: undefined }, ...badRecordIds('id')];
const badIdLists: BadValue[] = [
  { field: '0', wrong: 'a sparse list of a million', value: sparse(1_000_000) },
  { field: 'tokens', wrong: 'as many as an array can have', value: sparse(2 ** 32 - 1) },
];
const badTokens = ([MARKER, null, [MARKER], [-1], [1.5], [2 ** 32], [Number.NaN], [200_000]] as const).map((value) => ({
  field: Array.isArray(value) && value[0] !== 200_000 ? '0' : 'tokens',
  wrong: inspect(value),
  value,
}));

/** Every way in with everything wrong that may come through it; `never` for what no type checker lets through. */
const DOORS: [door: string, bad: readonly BadValue[], call: (memory: MemoryCore, value: never) => unknown][] = [
  ['saveChat', badChats, (memory, value) => memory.saveChat(value)],
  ['saveChat', unreadable('the turn', CHAT, 'userMessage'), (memory, value) => memory.saveChat(value)],
  ['saveChat, options', unreadable('the options', {}, 'wait'), (memory, value) => memory.saveChat(CHAT, value)],
  ['saveChat, options', badWaits, (memory, value) => memory.saveChat(CHAT, value)],
  ['saveChats', badTurnLists, (memory, value) => memory.saveChats(value)],
  ['saveChats', unreadable('the turns', CHAT, 'userId'), (memory, value) => memory.saveChats([CHAT, value])],
  ['saveChats', badSecondChats, (memory, value) => memory.saveChats([CHAT, value])],
  ['saveReflection', badReflections, (memory, value) => memory.saveReflection(value)],
  ['saveReflection, options', badWaits, (memory, value) => memory.saveReflection(REFLECTION as never, value)],
  [
    'saveReflection',
    unreadable('the reflection', REFLECTION, 'reflectionText'),
    (memory, value) => memory.saveReflection(value),
  ],
  [
    'getMemoryContext, options',
    unreadable('the options', {}, 'limit'),
    (memory, value) => memory.getMemoryContext(CONTEXT, value),
  ],
  ['getMemoryContext', badIdentifiers('contextId'), (memory, value) => memory.getMemoryContext(value)],
  ['getMemoryContext, options', badPages, (memory, value) => memory.getMemoryContext(CONTEXT, value)],
  ['loadRecentContext', badIdentifiers('contextId'), (memory, value) => memory.loadRecentContext(value)],
  ['loadRecentContext, options', badRecents, (memory, value) => memory.loadRecentContext(CONTEXT, value)],
  ['getReflections', badIdentifiers('contextId'), (memory, value) => memory.getReflections(value)],
  ['getReflectionCid', badIdentifiers('contextId'), (memory, value) => memory.getReflectionCid(value)],
  ['getStatus', badIds, (memory, value) => memory.getStatus(value)],
  ['inspect', badIds, (memory, value) => memory.inspect(value)],
  ['verify', badCids, (memory, value) => memory.verify(value)],
  ['decode', badIdLists, (memory, value) => memory.decode(value)],
  ['decode', badTokens, (memory, value) => memory.decode(value)],
  ['decode', badIdentifiers('encoding').slice(1), (memory, value) => memory.decode([1], value)],
  ['flushRedisToSupabase', badFlushes, (memory, value) => memory.flushRedisToSupabase(value)],
  ['retryQuarantined', badIds, (memory, value) => memory.retryQuarantined(value)],
  ['retryQuarantined, options', badWaits, (memory, value) => memory.retryQuarantined(ID, value)],
  [
    'retryQuarantined, row',
    unreadable('the row', QUARANTINED, 'tokens'),
    (memory, value) => memory.retryQuarantined(ID, { row: value }),
  ],
  ['retryQuarantined, row', badRows, (memory, value) => memory.retryQuarantined(QUARANTINED.id, { row: value })],
];
const doorCases = DOORS.flatMap(([door, bad, call]) =>
  bad.map(({ wrong, field, value }) => ({ door, wrong, field, call, value })),
);

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
    const keys = (await stack.client.keys('*')).filter((key) => !key.endsWith(':stalled-check')); // which expire
    return { keys: keys.toSorted(), row: quarantined?.data.row };
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

  test('leaves every door open for the next good one', async () => {
    const { memory } = stack;
    await expect(memory.saveChat(CHAT)).resolves.toMatchObject({ success: true });
    await expect(memory.saveReflection(REFLECTION as never)).resolves.toMatchObject({ success: true });
    const most = Array.from({ length: TURNS_AT_ONCE }, () => CHAT);
    expect((await memory.saveChats(most)).items).toHaveLength(TURNS_AT_ONCE);
    await expect(
      memory.getMemoryContext(CONTEXT, { cursor: cursor(`${toSortable(CREATED_AT)}|${ID}`) }),
    ).resolves.toMatchObject({
      items: [],
    });
    await expect(memory.loadRecentContext(CONTEXT, { format: 'messages' })).resolves.toMatchObject({ items: [] });
    await expect(memory.getReflections(CONTEXT)).resolves.toMatchObject({ items: [], nextCursor: null });
    await expect(memory.getStatus(ID)).resolves.toMatchObject({ status: 'quarantined' });
    expect(memory.decode([15_339])).toBe('hello');
    await stack.startWorkers('flush');
    await expect(memory.flushRedisToSupabase()).resolves.toMatchObject({ success: true });
    await expect(
      memory.retryQuarantined(ID, { row: { ...QUARANTINED, context_id: CONTEXT, text_cache: null } }),
    ).resolves.toMatchObject({
      committed: true,
    });
  });
});

test('of a hundred thousand wrong fields the first twenty are told, and how many more there are', async () => {
  const fields = Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`f${n}`, n]));
  const stack = await startStack();
  try {
    const error = await errorOf(async () => stack.memory.saveChat({ ...CHAT, ...fields }));
    expect(error.problems).toHaveLength(20);
    expect(error.message).toMatch(/f19: expected no such field, received an unknown field; and 99980 more$/);
  } finally {
    await stack.stop();
  }
});

/** What the call throws. */
async function errorOf(act: () => Promise<unknown>): Promise<MnemoqError> {
  const outcome = await act().catch((error: unknown) => error);
  if (outcome instanceof Error) return outcome as MnemoqError;
  throw new Error(`it was not refused, and gave ${inspect(outcome)}`);
}
