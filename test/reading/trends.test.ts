import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MemoryCore, TrendsOptions } from '../../producers/index.ts';
import { toRow } from '../../shared/records/records.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';
import { record } from '../support/inputs/turns.ts';

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

  const saveTurn = (contextId: string, userId: string, n: number, createdAt: string) =>
    memory.saveChat(
      { contextId, userId, userMessage: `question ${n}`, assistantMessage: `a longer answer ${n}`, createdAt },
      { wait: true },
    );

  test('trends count turns, tokens, reflections and gaps by hour, day and week of a time zone', async () => {
    const contextId = stack.newContextId();
    const [anna, ben] = [randomUUID(), randomUUID()];
    const turns = [
      await saveTurn(contextId, anna, 1, '2025-10-19T15:59:00.000Z'), // the 19th in Taipei still
      await saveTurn(contextId, anna, 2, '2025-10-19T16:00:00.000Z'), // the 20th, a Monday, there
      await saveTurn(contextId, anna, 3, '2025-10-19T16:10:00.000Z'),
      await saveTurn(contextId, ben, 4, '2025-10-19T17:00:00.000Z'),
    ];
    await memory.saveReflection(
      { contextId, userId: anna, reflectionText: 'short', createdAt: '2025-10-19T18:00:00.000Z' },
      { wait: true },
    );
    await memory.flushRedisToSupabase();
    const range = { contextId, from: '2025-10-01T00:00:00.000Z', to: '2025-11-01T00:00:00.000Z' };
    const days = await memory.getTrends({ ...range, bucket: 'day', timeZone: 'Asia/Taipei' });
    expect(days.items.map(({ from, turns: n, reflections }) => [from, n, reflections])).toEqual([
      ['2025-10-18T16:00:00.000Z', 1, 0],
      ['2025-10-19T16:00:00.000Z', 3, 1],
    ]);
    const tokens = days.items.reduce((sum, each) => sum + each.userTokenCount + each.assistantTokenCount, 0);
    expect(tokens).toBe(turns.reduce((sum, { tokenCount }) => sum + (tokenCount ?? 0), 0));
    expect(days.items[1]).toMatchObject({ meanGapSeconds: 1800, reflectionTokenCount: 1 });
    expect(days.items[0]).toMatchObject({ meanGapSeconds: null });
    const hours = await memory.getTrends({ ...range, bucket: 'hour', userId: anna });
    expect(hours.items.map(({ from, turns: n }) => [from, n])).toEqual([
      ['2025-10-19T15:00:00.000Z', 1],
      ['2025-10-19T16:00:00.000Z', 2],
      ['2025-10-19T18:00:00.000Z', 0],
    ]);
    const weeks = await memory.getTrends({ ...range, bucket: 'week' });
    expect(weeks.items.map(({ from, turns: n }) => [from, n])).toEqual([['2025-10-13T00:00:00.000Z', 4]]);
  });

  /** Turns per bucket of a new conversation with a turn at each of these moments. */
  async function turnsAt(moments: readonly string[], options: Omit<TrendsOptions, 'contextId'>) {
    const contextId = stack.newContextId();
    const rows = moments.map((createdAt, n) => toRow(record(contextId, n, { createdAt })));
    expect((await stack.supabase.from('memories').insert(rows)).error).toBeNull();
    const { items } = await memory.getTrends({ ...options, contextId });
    return items.map(({ from, turns, userTokenCount }) => [from, turns, userTokenCount]);
  }

  test('a day has as many hours as the clocks of its time zone give it', async () => {
    // New York: 25 hours on the 2nd of November 2025, 23 on the 9th of March.
    const zone = { bucket: 'day', timeZone: 'America/New_York' } as const;
    const autumn = [
      '2025-11-02T03:59:59.999Z',
      '2025-11-02T04:00:00.000Z',
      '2025-11-03T04:59:59.999Z',
      '2025-11-03T05:00:00.000Z',
    ];
    expect(
      await turnsAt(autumn, { ...zone, from: '2025-11-01T00:00:00.000Z', to: '2025-11-05T00:00:00.000Z' }),
    ).toEqual([
      ['2025-11-01T04:00:00.000Z', 1, 1],
      ['2025-11-02T04:00:00.000Z', 2, 2],
      ['2025-11-03T05:00:00.000Z', 1, 1],
    ]);
    const spring = [
      '2025-03-09T04:59:59.999Z',
      '2025-03-09T05:00:00.000Z',
      '2025-03-10T03:59:59.999Z',
      '2025-03-10T04:00:00.000Z',
    ];
    expect(
      await turnsAt(spring, { ...zone, from: '2025-03-08T00:00:00.000Z', to: '2025-03-12T00:00:00.000Z' }),
    ).toEqual([
      ['2025-03-08T05:00:00.000Z', 1, 1],
      ['2025-03-09T05:00:00.000Z', 2, 2],
      ['2025-03-10T04:00:00.000Z', 1, 1],
    ]);
  });

  test('hours begin where the clocks of a zone show a full one, at half past in UTC too', async () => {
    const moments = [
      '2025-10-19T15:29:59.999Z',
      '2025-10-19T15:30:00.000Z',
      '2025-10-19T16:29:59.999Z',
      '2025-10-19T16:30:00.000Z',
    ];
    const range = { from: '2025-10-19T15:10:00.000Z', to: '2025-10-19T17:00:00.000Z' };
    expect(await turnsAt(moments, { ...range, bucket: 'hour', timeZone: 'Asia/Kolkata' })).toEqual([
      ['2025-10-19T14:30:00.000Z', 1, 1],
      ['2025-10-19T15:30:00.000Z', 2, 2],
      ['2025-10-19T16:30:00.000Z', 1, 1],
    ]);
  });

  test('what lies before the range or at its end is not counted, in the first and last bucket either', async () => {
    const range = { from: '2025-10-19T12:00:00.000Z', to: '2025-10-21T12:00:00.000Z' };
    const moments = [
      '2025-10-19T11:59:59.999Z',
      '2025-10-19T12:00:00.000Z',
      '2025-10-20T00:00:00.000Z',
      '2025-10-21T11:59:59.999Z',
      '2025-10-21T12:00:00.000Z',
    ];
    expect(await turnsAt(moments, { ...range, bucket: 'day' })).toEqual([
      ['2025-10-19T00:00:00.000Z', 1, 1],
      ['2025-10-20T00:00:00.000Z', 1, 1],
      ['2025-10-21T00:00:00.000Z', 1, 1],
    ]);
    expect(await turnsAt(moments, { ...range, bucket: 'week' })).toEqual([
      ['2025-10-13T00:00:00.000Z', 1, 1],
      ['2025-10-20T00:00:00.000Z', 2, 2],
    ]);
  });
});
