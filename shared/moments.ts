import { z } from 'zod';

/**
 * Times of records, as text: ISO 8601 in UTC with milliseconds, and with microseconds only where there are some. Microseconds
 * are what a `timestamptz` of PostgreSQL keeps. The digits below a millisecond hold the sequence of records that were saved
 * within one millisecond (see short-term/order.ts).
 */

/** An existing moment with its zone, in the form above. The range of years keeps the text sortable. */
export const moment = z.iso
  .datetime({ offset: true })
  .refine((value) => !/\.\d{6}\d*[1-9]/.test(value), 'at most six digits of a second')
  .transform(toMoment)
  .refine((value) => value >= '1970' && value < '9999', 'a date from 1970 to 9998');

/** Brings a time that `Date` understands, such as one from PostgreSQL, into the form above. Further digits are cut. */
export function toMoment(value: string): string {
  const [, fraction = ''] = /\.(\d+)/.exec(value) ?? [];
  return withMicroseconds(new Date(value), fraction.padEnd(6, '0').slice(3, 6));
}

/** The moment that is so many microseconds after the beginning of 1970. */
export function fromMicroseconds(microseconds: number): string {
  return withMicroseconds(new Date(Math.floor(microseconds / 1000)), String(microseconds % 1000).padStart(3, '0'));
}

/** The same moment in a form of fixed length, so that two of them compare as text. */
export function toSortable(value: string): string {
  return hasMicroseconds(value) ? value : value.replace('Z', '000Z');
}

export function fromSortable(value: string): string {
  return value.replace(/(?<=\.\d{3})000Z$/, 'Z');
}

function hasMicroseconds(value: string): boolean {
  return value.length > '1970-01-01T00:00:00.000Z'.length;
}

function withMicroseconds(date: Date, microseconds: string): string {
  const text = date.toISOString();
  return microseconds === '000' ? text : text.replace('Z', `${microseconds}Z`);
}
