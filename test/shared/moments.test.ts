import { expect, test } from '@jest/globals';
import { assert, integer, property } from 'fast-check';
import { fromMicroseconds, moment, toMoment } from '../../shared/moments.ts';
import { parsePosition, positionOf } from '../../shared/records/position.ts';

/** From 1970 to 2255: later microseconds are no exact numbers in JavaScript. */
const microseconds = integer({ min: 0, max: 9_000_000_000_000_000 });
const ID = '0190a1b2-0000-7000-8000-000000000000';

test.each([
  ['2025-10-19T15:42:10Z', '2025-10-19T15:42:10.000Z'],
  ['2025-10-19T15:42:10.5Z', '2025-10-19T15:42:10.500Z'],
  ['2025-10-19T23:42:10.123456+08:00', '2025-10-19T15:42:10.123456Z'],
  ['2025-10-19T15:42:10.000001Z', '2025-10-19T15:42:10.000001Z'],
  ['2025-10-19T15:42:10.12345Z', '2025-10-19T15:42:10.123450Z'],
  ['2025-10-19T15:42:10.123000000Z', '2025-10-19T15:42:10.123Z'],
])('%s is kept as %s', (given, kept) => {
  expect(moment.parse(given)).toBe(kept);
});

test.each(['2025-10-19T15:42:10.1234567Z', '2025-02-30T00:00:00Z', '2025-10-19T15:42:10', '+010000-01-01T00:00:00Z'])(
  '%s is refused',
  (given) => {
    expect(moment.safeParse(given).success).toBe(false);
  },
);

test('what PostgreSQL writes is read to the microsecond', () => {
  expect(toMoment('2025-10-19T15:42:10.123456+00:00')).toBe('2025-10-19T15:42:10.123456Z');
  expect(toMoment('2025-10-19T15:42:10+00:00')).toBe('2025-10-19T15:42:10.000Z');
});

test('positions are in the order of their times to the microsecond, and give their parts back', () => {
  assert(
    property(microseconds, microseconds, (a, b) => {
      const [first, second] = [at(a), at(b)];
      expect(positionOf(first) < positionOf(second)).toBe(a < b);
      expect(positionOf(first) > positionOf(second)).toBe(a > b);
      expect(parsePosition(positionOf(first))).toEqual(first);
      expect(moment.parse(first.createdAt)).toBe(first.createdAt);
    }),
  );
});

function at(microsecond: number) {
  return { createdAt: fromMicroseconds(microsecond), id: ID };
}
