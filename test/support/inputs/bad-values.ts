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
    ['with the other half of one', `\uDE00${MARKER}`],
    ['257 emoji, 514 units', '👩'.repeat(257)],
    ['of a megabyte', MARKER.padEnd(1024 * 1024, 'x')],
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
    ['nested a thousand deep', nested(1_000)],
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
      '2016-12-31T23:59:60Z', // a leap second there was
      '2025-10-19T15:42Z',
      '2025-10-19t15:42:10z',
      '2025-10-19T15:42:10,5Z',
      '２０２５-10-19T15:42:10Z',
      '2025-10-19T15:42:10Z\n',
      '2025-10-19T15:42:10Z\0',
      '2025-10-19T15:42:10Z),or(id.gt.0',
      '2025-10-19T15:42:10+24:00',
      '2025-10-19T15:42:10+0800',
      '10000-01-01T00:00:00Z',
      '+010000-01-01T00:00:00Z',
      '0000-01-01T00:00:00Z',
      '0001-01-01T00:00:00Z',
      '-000001-01-01T00:00:00Z',
      '1969-12-31T23:59:59.999Z',
      '1970-01-01T00:00:00+00:01',
      '9999-12-31T23:59:59Z',
      '9998-12-31T23:59:59-12:00',
      '9999-12-31T23:59:59-23:59',
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
    ['with full-width digits', '０199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a'],
    ['with a filter of PostgREST behind it', '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a),or(id.gt.0'],
    ['with SQL behind it', "0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a' or '1'='1"],
    ['a path', '../../0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a'],
    ['a name of objects', 'constructor'],
    ['a telephone number', '0912-345-678'],
  ]);

/** Arrays in arrays. */
export function nested(depth: number): unknown {
  let value: unknown = MARKER;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

const unknownFields: BadValue[] = [
  { field: 'extra', wrong: 'an unknown field', value: MARKER },
  { field: 'version', wrong: 'of a later release', value: 2 },
  { field: 'constructor', wrong: 'a field that every object inherits', value: { prototype: { important: true } } },
  { field: 'toString', wrong: 'a field that every object inherits', value: MARKER },
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
    ['far too many', Number.MAX_VALUE],
    ['a text', '10'],
    ['true', true],
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
    ['an array', [1]],
    ['empty', {}],
    ['without encoding', { text: [1] }],
    ['of no known encoding', { encoding: MARKER, text: [1] }],
    ['without arrays', { encoding: 'cl100k_base' }],
    ['half of a turn', { encoding: 'cl100k_base', user: [1] }],
    ['of texts', { encoding: 'cl100k_base', text: [MARKER] }],
    ['of fractions', { encoding: 'cl100k_base', text: [1.5] }],
    ['that no text has', { encoding: 'cl100k_base', text: [200_000] }],
    ['sealed by nobody', { encoding: 'cl100k_base', sealed: MARKER, counts: { text: 1 } }],
    ['sealed and not counted', { encoding: 'cl100k_base', sealed: 'v1.k1.AAAA.AAAA' }],
    ['sealed and counted by a text', { encoding: 'cl100k_base', sealed: 'v1.k1.AAAA.AAAA', counts: { text: MARKER } }],
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
