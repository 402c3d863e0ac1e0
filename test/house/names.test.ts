import { describe, expect, test } from '@jest/globals';
import type { Command } from 'commander';
import { createProgram } from '../../cli/program.ts';
import { addTools } from '../../doors/mcp/tools.ts';
import { openApi, operationsOf } from '../../scripts/docs/http.ts';

/** What each letter stands for. A letter that is not here may not be used, and none has two meanings. */
const LETTERS: Record<string, string> = {
  '-a': '--all',
  '-b': '--bucket',
  '-c': '--context',
  '-f': '--format',
  '-h': '--help',
  '-l': '--limit',
  '-m': '--module',
  '-n': '--dry-run',
  '-o': '--output',
  '-q': '--query',
  '-r': '--row',
  '-s': '--source',
  '-t': '--trusted-key',
  '-u': '--user',
  '-V': '--version',
  '-w': '--wait',
  '-y': '--yes',
  '-z': '--time-zone',
};
/** Flags that had other names before, each with the one word that is used now. */
const OLD_FLAGS: Record<string, string> = { '--user-id': '--user', '--since': '--from' };

function commandsOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(commandsOf)];
}
const options = commandsOf(createProgram()).flatMap((command) =>
  command.options.map(({ short, long, flags }) => ({ command: command.name(), short, long: long ?? '', flags })),
);

test('the options are found', () => {
  expect(options.length).toBeGreaterThan(60);
  expect(options).toContainEqual(expect.objectContaining({ command: 'reflect', long: '--user' }));
});

test('a letter stands for the same option on every command', () => {
  const wrong = options.filter(({ short, long }) => short && LETTERS[short] !== long);
  expect(wrong.map(({ command, flags }) => `${command} ${flags}`)).toEqual([]);
});

test('an option has its letter, or none, on every command alike', () => {
  const letters = Object.groupBy(options, ({ long }) => long);
  const uneven = Object.entries(letters).filter(([, those = []]) => new Set(those.map(({ short }) => short)).size > 1);
  expect(uneven.map(([long, those = []]) => `${long}: ${those.map(({ command }) => command).join(', ')}`)).toEqual([]);
});

test('no option has a name that was given up', () => {
  expect(options.filter(({ long }) => long in OLD_FLAGS).map(({ command, long }) => `${command} ${long}`)).toEqual([]);
});

/** As much of JSON Schema as the doors' documents have. */
interface Schema {
  $ref?: string;
  $defs?: Record<string, Schema>;
  type?: string | string[];
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  additionalProperties?: Schema | boolean;
}

interface Parameter {
  /** The route or the tool that takes it. */
  at: string;
  name: string;
  required: boolean;
  description: string;
}

/** What an answer gives, with the schemas to which it refers by name. */
interface Answer {
  at: string;
  schema: Schema;
  named: Record<string, Schema>;
}

/** Fields under which lists stood before they all stood under `items`. */
const OLD_LISTS = new Set(['records', 'hits', 'buckets', 'links', 'conversations', 'reflections']);
/** What every list answers with. */
const LIST = ['complete', 'items', 'next_cursor'];
/** Parameters of reads that have one meaning wherever they are. */
const ONE_MEANING = ['limit', 'cursor', 'user_id', 'context_id', 'from', 'to', 'max_tokens'];
/** Each of these means something else, and its description has to say so. */
const OTHER_MEANING = [
  'GET /memory/events cursor', // a place in the stream, not a page
  'GET /memory/knowledge user_id', // gives what belongs to nobody as well
];
/** Names that parameters had, or could be given by mistake, each with the one word that is used. */
const OLD_PARAMETERS: Record<string, string> = {
  after: 'cursor',
  count: 'limit',
  page: 'cursor',
  since: 'from',
  until: 'to',
  user: 'user_id',
  context: 'context_id',
  conversation_id: 'context_id',
};

const document = await openApi();
const operations = operationsOf(document).map((operation) => ({
  ...operation,
  at: `${operation.method.toUpperCase()} ${operation.path}`,
}));
const components = document.components.schemas as Record<string, Schema>;
const tools = registered();

const answers: Answer[] = [
  ...operations.flatMap(({ at, responses }) =>
    Object.entries(responses)
      .filter(([status]) => status.startsWith('2'))
      .flatMap(([, { content = {} }]) => Object.values(content))
      .map(({ schema }) => ({ at, schema: schema as Schema, named: components })),
  ),
  ...tools.map(({ at, output }) => ({ at, schema: output, named: output.$defs ?? {} })),
];

const parameters: Parameter[] = [
  ...operations.flatMap(({ at, parameters: own = [] }) =>
    own
      .filter(({ in: where }) => where !== 'header')
      .map(({ name, required = false, description = '' }) => ({ at, name, required, description })),
  ),
  ...operations.flatMap(({ at, requestBody }) => {
    const body = requestBody?.content['application/json']?.schema;
    return fieldsOf(at, body ?? {});
  }),
  ...tools.flatMap(({ at, input }) => fieldsOf(at, input)),
];

function registered(): { at: string; input: Schema; output: Schema; isRead: boolean }[] {
  const found: ReturnType<typeof registered> = [];
  const registerTool = (name: string, { inputSchema, outputSchema, annotations }: Registered) =>
    found.push({
      at: `tool ${name}`,
      input: inputSchema['~standard'].jsonSchema.input(),
      output: outputSchema['~standard'].jsonSchema.output(),
      isRead: annotations.readOnlyHint === true,
    });
  addTools({ registerTool } as never, { memory: {}, caller: { name: 'house', userId: null }, logger: {} } as never);
  return found;
}

interface Registered {
  inputSchema: { '~standard': { jsonSchema: { input(): Schema } } };
  outputSchema: { '~standard': { jsonSchema: { output(): Schema } } };
  annotations: { readOnlyHint?: boolean };
}

function fieldsOf(at: string, { properties = {}, required = [] }: Schema): Parameter[] {
  return Object.entries(properties).map(([name, { description = '' }]) => ({
    at,
    name,
    required: required.includes(name),
    description,
  }));
}

function resolve({ $ref, ...schema }: Schema, named: Record<string, Schema>): Schema {
  return $ref === undefined ? schema : (named[$ref.split('/').at(-1) ?? ''] ?? {});
}

/** Every object with named fields in an answer, the answer itself first. */
function objectsOf({ schema, named }: Omit<Answer, 'at'>): Schema[] {
  const { properties, items, anyOf = [], additionalProperties, ...rest } = resolve(schema, named);
  const inner = [...Object.values(properties ?? {}), ...anyOf, ...(items ? [items] : [])];
  if (typeof additionalProperties === 'object') inner.push(additionalProperties);
  const own = properties === undefined ? [] : [{ ...rest, properties }];
  return [...own, ...inner.flatMap((each) => objectsOf({ schema: each, named }))];
}

/** The fields at which a list may stand; whether it may be null makes no difference. */
function listsOf({ properties = {} }: Schema): string[] {
  const isList = ({ type, anyOf = [] }: Schema): boolean => [type].flat().includes('array') || anyOf.some(isList);
  return Object.entries(properties).flatMap(([name, schema]) => (isList(schema) ? [name] : []));
}

describe('over HTTP and MCP', () => {
  test('answers and parameters are found', () => {
    expect(answers.map(({ at }) => at)).toEqual(expect.arrayContaining(['GET /memory/reflections', 'tool search']));
    expect(answers.flatMap(objectsOf).length).toBeGreaterThan(60);
    expect(parameters.length).toBeGreaterThan(100);
    expect(answers.filter(({ schema, named }) => resolve(schema, named).properties?.['items']).length).toBeGreaterThan(
      8,
    );
  });

  test('a list has items, next_cursor and complete, and nothing has a part of them', () => {
    const partial = answers.flatMap((answer) =>
      objectsOf(answer).flatMap(({ properties = {} }) => {
        const has = LIST.filter((name) => name in properties);
        return has.length === 0 || has.length === LIST.length ? [] : [`${answer.at}: ${has.join(', ')} alone`];
      }),
    );
    expect(partial).toEqual([]);
  });

  test('whatever takes a limit or a cursor answers with a list', () => {
    const paged = new Set(parameters.filter(({ name }) => ['limit', 'cursor'].includes(name)).map(({ at }) => at));
    const json = answers.filter(({ at }) => paged.has(at) && at !== 'GET /memory/events');
    expect(json.length).toBeGreaterThan(8);
    const others = json.filter(({ schema, named }) => !resolve(schema, named).properties?.['items']);
    expect(others.map(({ at }) => at)).toEqual([]);
  });

  test('no list stands under a name that was given up', () => {
    const old = answers.flatMap((answer) =>
      objectsOf(answer)
        .flatMap(listsOf)
        .filter((name) => OLD_LISTS.has(name))
        .map((name) => `${answer.at}: ${name}`),
    );
    expect(old).toEqual([]);
  });

  test('conversation_id is in receipts and nowhere else', () => {
    const receipt = Object.keys(components['Receipt']?.properties ?? {});
    expect(receipt).toContain('conversation_id');
    const others = answers.filter((answer) =>
      objectsOf(answer).some(
        ({ properties = {} }) => 'conversation_id' in properties && !('redis_stored' in properties),
      ),
    );
    expect(others.map(({ at }) => at)).toEqual([]);
  });

  test('no parameter has a name that was given up', () => {
    const old = parameters.filter(({ name }) => name in OLD_PARAMETERS);
    expect(old.map(({ at, name }) => `${at} ${name}: ${OLD_PARAMETERS[name]}`)).toEqual([]);
  });

  test('what has one meaning is described with the same first sentence', () => {
    const reads = new Set([
      ...operations.filter(({ method }) => method === 'get').map(({ at }) => at),
      ...tools.filter(({ isRead }) => isRead).map(({ at }) => at),
    ]);
    const compared = parameters.filter(
      ({ at, name }) => reads.has(at) && ONE_MEANING.includes(name) && !OTHER_MEANING.includes(`${at} ${name}`),
    );
    // A conversation that has to be named is another thing than one that narrows what is asked for.
    const meanings = Object.groupBy(compared, ({ name, required }) => (required ? `${name}, required` : name));
    expect(Object.keys(meanings).length).toBeGreaterThanOrEqual(ONE_MEANING.length);
    const uneven = Object.entries(meanings).flatMap(([name, those = []]) => {
      const sentences = new Set(those.map(({ description }) => description.split('. ')[0]?.replace(/\.$/, '')));
      return sentences.size === 1 && !sentences.has('') ? [] : [`${name}: ${[...sentences].join(' | ')}`];
    });
    expect(uneven).toEqual([]);
    const known = new Set(parameters.map(({ at, name }) => `${at} ${name}`));
    expect(OTHER_MEANING.filter((each) => !known.has(each))).toEqual([]);
  });
});
