import { inspect } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import type { MnemoqError } from '../../producers/index.ts';
import { chatInput, TEXT_BYTES } from '../../shared/records/jobs.ts';
import { validate } from '../../shared/validate.ts';

const ID = '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a';
const CHAT = { contextId: 'c', userId: 'u', userMessage: 'asks', assistantMessage: 'answers' };

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
    ['2025-10-19T15:42:10.123456Z', '2025-10-19T15:42:10.123456Z'],
    ['2025-12-31T23:59:59-01:00', '2026-01-01T00:59:59.000Z'],
  ])('turns the moment %s into UTC', (createdAt, expected) => {
    expect(validate(chatInput, { ...CHAT, createdAt }, 'the turn')).toMatchObject({ createdAt: expected });
  });

  test('turns ids into small letters, so that one record has one id', () => {
    expect(validate(chatInput, { ...CHAT, id: ID.toUpperCase() }, 'the turn').id).toBe(ID);
  });
});

/** What the call throws. */
async function errorOf(act: () => Promise<unknown>): Promise<MnemoqError> {
  const outcome = await act().catch((error: unknown) => error);
  if (outcome instanceof Error) return outcome as MnemoqError;
  throw new Error(`it was not refused, and gave ${inspect(outcome)}`);
}
