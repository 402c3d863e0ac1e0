/** Values that must be refused, by what they stand for. */
export interface BadValue {
  /** What is wrong with it, in words for the test's name. */
  wrong: string;
  /** The field an error must name. */
  field: string;
  value: unknown;
}

/** Stands in every text: no error may repeat it. */
export const MARKER = 'MARKER-7f3a';
const TEXT_BYTES = 2 * 1024 * 1024;

const list = (field: string, values: [wrong: string, value: unknown][]): BadValue[] =>
  values.map(([wrong, value]) => ({ field, wrong, value }));

export const badIdentifiers = (field: string): BadValue[] =>
  list(field, [
    ['missing', undefined],
    ['null', null],
    ['a number', 5],
    ['a boolean', true],
    ['an array', [MARKER]],
    ['an object', { [MARKER]: MARKER }],
    ['empty', ''],
    ['513 characters', `${MARKER}${'x'.repeat(513 - MARKER.length)}`],
    ['with a NUL', `${MARKER}\0`],
    ['with a lone surrogate', `${MARKER}\uD83D`],
  ]);

const badTexts = (field: string): BadValue[] =>
  list(field, [
    ['missing', undefined],
    ['null', null],
    ['a number', 5],
    ['an object', { text: MARKER }],
    ['an array', [MARKER]],
    ['empty', ''],
    ['2 MiB and one byte', MARKER.padEnd(TEXT_BYTES + 1, 'x')],
    ['2 MiB and one byte of Chinese', MARKER + '字'.repeat((TEXT_BYTES + 1 - MARKER.length) / 3 + 1)],
  ]);

const badMoments = (field: string): BadValue[] =>
  list(
    field,
    [
      null,
      1_760_888_530_000,
      '',
      'now',
      'Sun Oct 19 2025',
      '2025-10-19',
      '2025-10-19T15:42:10',
      '2025-10-19 15:42:10Z',
      '2025-02-30T00:00:00Z',
      '2025-02-29T00:00:00Z',
      '2025-13-01T00:00:00Z',
      '2025-00-10T00:00:00Z',
      '2025-10-00T00:00:00Z',
      '2025-10-19T24:00:00Z',
      '2025-10-19T15:60:00Z',
      '2025-10-19T15:42:60Z',
      '2025-10-19T15:42:10+24:00',
      '2025-10-19T15:42:10+0800',
      '10000-01-01T00:00:00Z',
      '+010000-01-01T00:00:00Z',
      '0000-01-01T00:00:00Z',
      '1969-12-31T23:59:59.999Z',
      '1970-01-01T00:00:00+00:01',
      '9999-12-31T23:59:59Z',
    ].map((value) => [JSON.stringify(value), value]),
  );

export const badRecordIds = (field: string): BadValue[] =>
  list(field, [
    ['null', null],
    ['a number', 7],
    ['an array', ['0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a']],
    ['empty', ''],
    ['no UUID', MARKER],
    ['without dashes', '0199fc2a7c1e7b6a9c8d1f2e3d4c5b6a'],
    ['with a letter too high', '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6g'],
    ['in braces', '{0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a}'],
    ['with a newline', '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a\n'],
    ['of no known version', '0199fc2a-7c1e-9b6a-9c8d-1f2e3d4c5b6a'],
  ]);

const unknownFields: BadValue[] = [
  { field: 'extra', wrong: 'an unknown field', value: MARKER },
  { field: '__proto__', wrong: 'a field that is a prototype elsewhere', value: { important: true } },
  { field: `${MARKER} a text`, wrong: 'a text as field name', value: 1 },
];

/** Values that are not even an object. */
export const badRoots = (field: string): BadValue[] =>
  list(field, [
    ['null', null],
    ['a text', MARKER],
    ['a number', 5],
    ['an array', [{ text: MARKER }]],
  ]);

/** The good object with one field made bad. */
export const inside = (good: object, bad: readonly BadValue[]): BadValue[] =>
  bad.map(({ field, wrong, value }) => ({
    field: /\s/.test(field) ? `(a name of ${field.length} characters)` : field,
    wrong: `${field} ${wrong}`,
    value: Object.fromEntries(Object.entries({ ...good, [field]: value }).filter(([, each]) => each !== undefined)),
  }));

const badVisibilities = list('visibility', [
  ['unknown', MARKER],
  ['null', null],
  ['of other case', 'Private'],
]);

const badSourceIds = list('sourceIds', [
  ['a text', MARKER],
  ['1001 of them', Array.from({ length: 1001 }, () => '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a')],
]);

export const badChatFields: BadValue[] = [
  ...badIdentifiers('contextId'),
  ...badIdentifiers('userId'),
  ...badTexts('userMessage'),
  ...badTexts('assistantMessage'),
  ...badMoments('createdAt'),
  ...badRecordIds('id'),
  ...list('important', [
    ['a text', 'true'],
    ['a number', 1],
    ['null', null],
  ]),
  ...unknownFields,
];

export const badReflectionFields: BadValue[] = [
  ...badIdentifiers('contextId'),
  ...badIdentifiers('userId').filter(({ value }) => value !== undefined),
  ...badTexts('reflectionText'),
  ...badMoments('createdAt'),
  ...badRecordIds('id'),
  ...badVisibilities,
  ...badSourceIds,
  ...unknownFields,
];

export const badFlushFields: BadValue[] = [
  ...list('reason', [
    ['missing', undefined],
    ['a number', 5],
    ['empty', ''],
    ['101 characters', MARKER.padEnd(101, 'x')],
  ]),
  ...list('attempt', [
    ['negative', -1],
    ['a fraction', 0.5],
    ['a text', '1'],
  ]),
  ...unknownFields,
];

export const badCounts = (field: string, most: number): BadValue[] =>
  list(field, [
    ['null', null],
    ['zero', 0],
    ['negative', -1],
    ['a fraction', 1.5],
    ['too many', most + 1],
    ['a text', '10'],
    ['an array', [10]],
  ]);

export const badRowFields: BadValue[] = [
  ...badRecordIds('id'),
  ...badIdentifiers('context_id'),
  ...badIdentifiers('user_id').filter(({ value }) => value !== null),
  ...badMoments('created_at'),
  ...list('tokens', [
    ['missing', undefined],
    ['null', null],
    ['a text', MARKER],
  ]),
  ...list('text_cache', [
    ['missing', undefined],
    ['a number', 5],
  ]),
  ...list('cid', [
    ['missing', undefined],
    ['a number', 5],
  ]),
  ...list('module', [
    ['unknown', MARKER],
    ['null', null],
  ]),
  ...unknownFields,
];
