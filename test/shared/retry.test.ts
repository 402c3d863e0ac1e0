import { describe, expect, test } from '@jest/globals';
import { backoffMs } from '../../shared/process/retry.ts';

const least = () => 0;
const most = () => 1;

describe('the wait before another try', () => {
  test.each([
    [1, 500, 1_000],
    [2, 1_000, 2_000],
    [3, 2_000, 4_000],
    [4, 4_000, 8_000],
    [5, 8_000, 16_000],
    [6, 16_000, 32_000],
    [7, 30_000, 60_000],
    [8, 30_000, 60_000],
    [1_000, 30_000, 60_000],
    [Number.MAX_SAFE_INTEGER, 30_000, 60_000],
  ])('after attempt %d is from %d to %d ms', (attempt, from, to) => {
    expect(backoffMs(attempt, least)).toBe(from);
    expect(backoffMs(attempt, most)).toBe(to);
    expect(backoffMs(attempt, () => 0.5)).toBe((from + to) / 2);
  });

  test.each([0, -1])('counts from one: %d is the first attempt too', (attempt) => {
    expect(backoffMs(attempt, most)).toBe(1_000);
  });

  test('never becomes shorter and never passes a minute', () => {
    for (const random of [least, most, () => 0.37]) {
      const waits = Array.from({ length: 200 }, (_, i) => backoffMs(i + 1, random));
      expect(waits).toEqual(waits.toSorted((a, b) => a - b));
      expect(Math.max(...waits)).toBeLessThanOrEqual(60_000);
    }
  });

  test('is a whole number of ms, and not the same for everybody', () => {
    const waits = Array.from({ length: 100 }, () => backoffMs(5));
    expect(waits.every((wait) => Number.isInteger(wait) && wait >= 8_000 && wait <= 16_000)).toBe(true);
    expect(new Set(waits).size).toBeGreaterThan(10);
  });
});
