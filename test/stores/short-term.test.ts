/**
 * **test/stores/**: what Mnemoq asks of Redis, Supabase and IPFS, store by store.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { type EmbeddedRedis, startRedis } from '../../embedded/redis.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { Pending } from '../../shared/short-term/pending.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { ShortTerm } from '../../shared/short-term/short-term.ts';
import { record } from '../support/inputs/turns.ts';

const LIMIT = 5;
const TTL_SECONDS = 60;
const CONTEXT = 'a conversation';

let dir: string;
let server: EmbeddedRedis;
let redis: Redis;
let shortTerm: ShortTerm;
let pending: Pending;
const keys = new Keys(false);

beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-short-term-'));
  server = await startRedis(dir);
  redis = new Redis(server.url);
  shortTerm = new ShortTerm(redis, keys, { limit: LIMIT, ttlSeconds: TTL_SECONDS });
  pending = new Pending(redis, keys);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
  rmSync(dir, { recursive: true });
});
beforeEach(async () => {
  await redis.flushall();
  await pending.prepare();
});

async function remember(...numbers: number[]): Promise<{ record: MemoryRecord; entry: string }[]> {
  const remembered = [];
  for (const n of numbers) {
    const each = record(CONTEXT, n);
    remembered.push({ record: each, entry: (await shortTerm.remember(each)).entry });
  }
  return remembered;
}

async function commit(records: { record: MemoryRecord; entry: string }[]): Promise<void> {
  await shortTerm.acknowledge(
    CONTEXT,
    records.map((each) => ({ ...each, inserted: true })),
  );
}

/** The numbers of the newest cached records, and whether the cache vouches for them. */
async function recent(limit = 1000): Promise<[boolean, number[]]> {
  const { isWhole, records } = await shortTerm.recent(CONTEXT, limit);
  return [isWhole, records.map(numberOf)];
}

function numberOf({ tokens }: MemoryRecord): number {
  return ('user' in tokens && tokens.user[0]) || 0;
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** What a first read finds when Supabase holds these. */
async function refill(...records: MemoryRecord[]): Promise<boolean> {
  expect(await shortTerm.beginRefill(CONTEXT, 'token')).toBe(true);
  return shortTerm.refill(CONTEXT, 'token', records);
}

describe('remembering', () => {
  test('adds a record to its conversation and to the pending stream, once however often it is delivered', async () => {
    const each = record(CONTEXT, 1);
    const first = await shortTerm.remember(each);
    const second = await shortTerm.remember(each);
    expect(first).toMatchObject({ added: true, pendingLength: 1 });
    expect(second).toEqual({ ...first, added: false });
    expect(await recent()).toEqual([false, [1]]);
    expect(await pending.length()).toBe(1);
  });

  test('keeps the documented form of a cached turn', async () => {
    const each = record(CONTEXT, 7);
    await shortTerm.remember(each);
    const cached = JSON.parse((await redis.hget(`memory:conversation:${CONTEXT}`, each.id)) ?? '');
    expect(cached).toMatchObject({ user: [7], assistant: [7, 7], timestamp: '2025-10-19T00:00:07.000Z' });
  });

  test('orders by time and then id, whichever record comes first', async () => {
    await remember(3, 1, 4, 2);
    expect(await recent()).toEqual([false, [1, 2, 3, 4]]);
    const low = record(CONTEXT, 9, {
      id: '00000000-0000-7000-8000-000000000001',
      tokens: { encoding: 'gpt2', user: [91], assistant: [] },
    });
    const high = record(CONTEXT, 9, {
      id: '00000000-0000-7000-8000-000000000002',
      tokens: { encoding: 'gpt2', user: [92], assistant: [] },
    });
    await shortTerm.remember(high);
    await shortTerm.remember(low);
    expect(await recent(2)).toEqual([false, [91, 92]]);
  });

  test('never trims what is pending: 150 of 150 are there with a limit of 5', async () => {
    await remember(...numbers(1, 150));
    expect(await recent()).toEqual([false, numbers(1, 150)]);
    expect(await redis.ttl(keys.conversation(CONTEXT))).toBe(-1);
  });
});

describe('committing', () => {
  test('trims to the newest records and gives the conversation its time to live', async () => {
    await commit(await remember(...numbers(1, 8)));
    expect(await recent()).toEqual([false, numbers(4, 8)]);
    expect(await pending.length()).toBe(0);
    for (const key of [keys.conversation(CONTEXT), keys.order(CONTEXT)]) {
      const ttl = await redis.ttl(key);
      expect(ttl).toBeGreaterThan(TTL_SECONDS - 5);
      expect(ttl).toBeLessThanOrEqual(TTL_SECONDS);
    }
  });

  test('of some leaves the others, and no time to live while one is pending', async () => {
    const remembered = await remember(...numbers(1, 8));
    await commit(remembered.filter(({ record }) => numberOf(record) !== 2));
    expect(await recent()).toEqual([false, [2, ...numbers(4, 8)]]);
    expect(await redis.ttl(keys.conversation(CONTEXT))).toBe(-1);
    expect(await redis.ttl(keys.order(CONTEXT))).toBe(-1);
  });

  test('a later record takes the time to live away again', async () => {
    await commit(await remember(1));
    expect(await redis.ttl(keys.conversation(CONTEXT))).toBeGreaterThan(0);
    await remember(2);
    expect(await redis.ttl(keys.conversation(CONTEXT))).toBe(-1);
    expect(await redis.ttl(keys.order(CONTEXT))).toBe(-1);
  });

  test('twice is the same as once', async () => {
    const remembered = await remember(1, 2);
    await commit(remembered);
    await commit(remembered);
    expect(await recent()).toEqual([false, [1, 2]]);
  });

  test('a record Supabase already had drops the cached copy, and the next read must ask Supabase', async () => {
    const [one, two] = await remember(1, 2);
    await refill();
    expect(await recent()).toEqual([true, [1, 2]]);
    if (!one || !two) throw new Error('two records were remembered');
    await shortTerm.acknowledge(CONTEXT, [
      { ...one, inserted: true },
      { ...two, inserted: false },
    ]);
    expect(await recent()).toEqual([false, [1]]);
  });

  test('a set-aside record leaves the stream and stays readable, without a time to live', async () => {
    const [one, two] = await remember(1, 2);
    if (!one || !two) throw new Error('two records were remembered');
    await shortTerm.setAside(two.record, two.entry, '22021');
    await commit([one]);
    expect(await pending.length()).toBe(0);
    expect(await recent()).toEqual([false, [1, 2]]);
    expect(await redis.ttl(keys.conversation(CONTEXT))).toBe(-1);
  });
});

describe('a worker that comes late', () => {
  /** Taken by one worker, finished by another, expired, and delivered once more: pending under another entry. */
  async function rememberAgain(): Promise<{ record: MemoryRecord; old: string; entry: string }> {
    const [first] = await remember(1);
    if (!first) throw new Error('one record was remembered');
    await commit([first]);
    await redis.del(keys.conversation(CONTEXT), keys.order(CONTEXT));
    const { added, entry } = await shortTerm.remember(first.record);
    expect(added).toBe(true);
    return { record: first.record, old: first.entry, entry };
  }

  async function expectPending({ id }: MemoryRecord, entry: string): Promise<void> {
    expect(await pending.locate(id)).toEqual({ contextId: CONTEXT, entry });
    expect(await recent()).toEqual([false, [1]]);
    expect(await redis.ttl(keys.conversation(CONTEXT))).toBe(-1);
  }

  test('and acknowledges what it took leaves a record alone that is pending again since', async () => {
    const { record, old, entry } = await rememberAgain();
    await shortTerm.acknowledge(CONTEXT, [{ record, entry: old, inserted: false }]);
    await expectPending(record, entry);
  });

  test('and sets aside what it took does so, too', async () => {
    const { record, old, entry } = await rememberAgain();
    await shortTerm.setAside(record, old, '22021');
    await expectPending(record, entry);
  });
});

describe('knowing what is complete', () => {
  test('nothing is vouched for before the first refill', async () => {
    await remember(...numbers(1, 10));
    expect((await recent(3))[0]).toBe(false);
  });

  test('a conversation shorter than the limit is complete after a refill, and stays so', async () => {
    await refill(record(CONTEXT, 1), record(CONTEXT, 2));
    expect(await recent()).toEqual([true, [1, 2]]);
    await remember(3);
    expect(await recent()).toEqual([true, [1, 2, 3]]);
  });

  test('a longer one is complete for as many as are kept, not for more', async () => {
    await refill(...numbers(6, 10).map((n) => record(CONTEXT, n)));
    expect(await recent(LIMIT)).toEqual([true, numbers(6, 10)]);
    expect((await recent(LIMIT + 1))[0]).toBe(false);
  });

  test('a complete conversation that outgrows the limit is trimmed and no longer complete from its beginning', async () => {
    await refill();
    await commit(await remember(...numbers(1, 8)));
    expect(await recent(LIMIT)).toEqual([true, numbers(4, 8)]);
    expect((await recent(LIMIT + 1))[0]).toBe(false);
    expect((await shortTerm.after(CONTEXT, null, 100)).isWhole).toBe(false);
  });

  test('an old record that comes late does not count as one of the newest', async () => {
    await refill(...numbers(6, 10).map((n) => record(CONTEXT, n)));
    const late = await remember(1);
    expect(await recent(LIMIT)).toEqual([true, numbers(6, 10)]);
    expect((await recent(LIMIT + 1))[0]).toBe(false);
    await commit(late);
    expect(await recent(LIMIT)).toEqual([true, numbers(6, 10)]);
    expect(await redis.hlen(keys.conversation(CONTEXT))).toBe(LIMIT + 1); // five records and the floor
  });

  test('one refill at a time; a commit in between makes it void', async () => {
    const remembered = await remember(1);
    expect(await shortTerm.beginRefill(CONTEXT, 'a')).toBe(true);
    expect(await shortTerm.beginRefill(CONTEXT, 'b')).toBe(false);
    await commit(remembered);
    expect(await shortTerm.refill(CONTEXT, 'a', [])).toBe(false);
    expect(await recent()).toEqual([false, [1]]);
    expect(await shortTerm.beginRefill(CONTEXT, 'c')).toBe(true);
  });

  test('reading on gives pages of what Supabase lacks, or of everything when it is all here', async () => {
    const remembered = await remember(...numbers(1, 6));
    await commit(remembered.slice(0, 3));
    const uncommitted = await shortTerm.after(CONTEXT, null, 2);
    expect([uncommitted.isWhole, uncommitted.records.map(numberOf)]).toEqual([false, [4, 5]]);
    const last = uncommitted.records.at(-1);
    const next = await shortTerm.after(CONTEXT, `${last?.createdAt}|${last?.id}`, 2);
    expect(next.records.map(numberOf)).toEqual([6]);
  });
});
