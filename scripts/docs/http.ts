import fastify from 'fastify';
import { addOpenApi } from '../../doors/http/openapi.ts';
import { addHealthRoutes } from '../../doors/http/routes/health-routes.ts';
import { registerMemoryRoutes } from '../../doors/http/server.ts';
import { Authenticator } from '../../doors/web/auth.ts';
import { compileSerializer, compileValidator } from '../../doors/web/validation.ts';
import { problem, statusOf, titleOf } from '../../doors/web/problem.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { code, type Say, table } from './tables.ts';

/** A choice of more values than this is described where it belongs, not in a cell of a table. */
const LONGEST_CHOICE = 10;

interface Schema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  format?: string;
  enum?: (string | boolean)[];
  const?: string | number | boolean;
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  required?: string[];
  default?: string | number | boolean;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  maxItems?: number;
}

interface Response {
  description: string;
  content?: Record<string, { schema: Schema }>;
}

interface Operation {
  path: string;
  method: string;
  summary: string;
  description?: string;
  tags: string[];
  security?: unknown[];
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema: Schema }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, Response>;
}

interface OpenApi {
  tags: { name: string }[];
  paths: Record<string, Record<string, Omit<Operation, 'path' | 'method'>>>;
  components: { schemas: Record<string, Schema> };
}

/** The document that the HTTP API serves at /docs/json. Routes are described without any of the stores. */
export async function openApi(): Promise<OpenApi> {
  const server = fastify();
  server.setValidatorCompiler(compileValidator as never);
  server.setSerializerCompiler(compileSerializer);
  await addOpenApi(server, '0');
  const memory = { metrics: { registry: { getSingleMetric: () => ({}) } } } as never;
  addHealthRoutes(server, memory);
  const config = loadConfig({}, []) as never;
  const authenticator = new Authenticator(config);
  await server.register(async (scope) => registerMemoryRoutes(scope, { memory, authenticator, config }));
  await server.ready();
  const document = server.swagger() as unknown as OpenApi;
  await server.close();
  return document;
}

export function operationsOf({ paths }: OpenApi): Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, about]) => ({
      ...about,
      path: path.replaceAll(/\{(\w+)\}/g, ':$1'),
      method,
    })),
  );
}

/** `GET /memory/stats`, as headings and tables name an operation. */
export function nameOf({ method, path }: Operation): string {
  return `${method.toUpperCase()} ${path}`;
}

/** Every code of a problem with its status; those that any route behind a key may answer are marked. */
export function codes(document: OpenApi, say: Say): string {
  const usual = usualCodes(operationsOf(document));
  const rows = problem.shape.code.options
    .toSorted((a, b) => statusOf(a) - statusOf(b))
    .map((each) => [code(each), String(statusOf(each)), say(titleOf(each)), usual.has(each) ? say('always') : '']);
  return table(['`code`', say('status'), say('meaning'), ''], rows);
}

/** The routes with a tag, each with what it takes, what it answers and with what it refuses. */
export function routes(document: OpenApi, tag: string, say: Say): string {
  const operations = operationsOf(document);
  const usual = usualCodes(operations);
  return operations
    .filter(({ tags }) => tags.includes(tag))
    .map((operation) => route(operation, usual, say))
    .join('\n\n');
}

function route(operation: Operation, usual: ReadonlySet<string>, say: Say): string {
  const { summary, description, responses } = operation;
  const answers = Object.entries(responses).filter(([, { content }]) => !content?.['application/problem+json']);
  const rows = answers.map(([status, answer]) => [code(status), answerOf(answer), say(answer.description)]);
  const refusals = codesOf(operation).filter((each) => !usual.has(each));
  const refused =
    refusals.length === 0
      ? []
      : [`${say('Also refused with')}${say(' ')}${refusals.map(code).join(say(', '))}${say('.')}`];
  return [
    `### ${code(nameOf(operation))}`,
    [`${say(summary)}${/[.。]$/.test(say(summary)) ? '' : say('.')}`, description === undefined ? '' : say(description)]
      .filter(Boolean)
      .join(say(' ')),
    ...parametersOf(operation, say),
    table([say('status'), say('answer'), say('when')], rows),
    ...refused,
  ].join('\n\n');
}

function answerOf({ content = {} }: Response): string {
  const [[type, { schema }] = ['', { schema: {} as Schema }]] = Object.entries(content);
  const name = schema.$ref?.split('/').at(-1);
  return name === undefined ? code(type) : `[${code(name)}](#${name.toLowerCase()})`;
}

function parametersOf({ parameters = [], requestBody }: Operation, say: Say): string[] {
  const body = requestBody?.content['application/json']?.schema;
  const rows = [
    ...parameters.map(({ name, required, schema, description, in: where }) => ({
      name,
      required,
      schema,
      description,
      where,
    })),
    ...Object.entries(body?.properties ?? {}).map(([name, schema]) => ({
      name,
      required: body?.required?.includes(name) ?? false,
      schema,
      description: schema.description,
      where: 'body',
    })),
  ];
  if (rows.length === 0) return [];
  const order = ['path', 'query', 'header', 'body'];
  const sorted = rows.toSorted((a, b) => order.indexOf(a.where) - order.indexOf(b.where));
  return [
    table(
      [say('parameter'), say('in'), say('type'), say('meaning')],
      sorted.map(({ name, required, schema, description, where }) => [
        code(required ? headerName(name, where) : `${headerName(name, where)}?`),
        say(where),
        typeOf(schema),
        say(description ?? ''),
      ]),
    ),
  ];
}

function headerName(name: string, where: string): string {
  return where === 'header' ? name.replaceAll(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()) : name;
}

/** What any operation behind the guard may be refused with, which is said once. */
function usualCodes(operations: readonly Operation[]): ReadonlySet<string> {
  const guarded = operations.filter(({ security }) => security === undefined).map((each) => new Set(codesOf(each)));
  const [first = new Set<string>(), ...rest] = guarded;
  return new Set([...first].filter((each) => rest.every((codes) => codes.has(each))));
}

function codesOf({ responses }: Operation): string[] {
  return Object.values(responses).flatMap(({ description }) =>
    [...description.matchAll(/\(`(\w+)`\)/g)].map(([, each = '']) => each),
  );
}

/** Every shape that is answered, field by field; one that stands inside of several is told where it comes first. */
export function shapes({ components: { schemas } }: OpenApi, say: Say): string {
  const told = new Map<string, string>();
  return Object.entries(schemas)
    .map(([name, schema]) => {
      const rows = fieldsOf(schema, '', name, told, say);
      const about = schema.description === undefined ? [] : [say(schema.description)];
      return [`### ${name}`, ...about, table([say('field'), say('type'), say('meaning')], rows)].join('\n\n');
    })
    .join('\n\n');
}

function fieldsOf(schema: Schema, prefix: string, shape: string, told: Map<string, string>, say: Say): string[][] {
  const { properties = {}, required = [] } = schema;
  return Object.entries(properties).flatMap(([name, field]) => {
    const path = `${prefix}${name}`;
    const row = [code(required.includes(name) ? path : `${path}?`), typeOf(field), say(field.description ?? '')];
    const inner = objectsIn(field);
    const many = (field.type === 'array' || field.anyOf?.some(({ type }) => type === 'array')) ?? false;
    const rows = inner.flatMap((each) => {
      const key = JSON.stringify(each.properties);
      const before = told.get(key);
      if (before !== undefined) return [[code(`${path}${many ? '[]' : ''}.…`), '', `${say('as')} ${before}`]];
      told.set(key, `[${code(shape)}](#${shape.toLowerCase()}) ${code(`${path}${many ? '[]' : ''}`)}`);
      return fieldsOf(each, `${path}${many ? '[]' : ''}.`, shape, told, say);
    });
    const once = new Map(rows.map((each) => [each.join(), each]));
    return [row, ...once.values()];
  });
}

/** The objects with named fields that a field may hold. */
function objectsIn({ anyOf, items, properties, ...rest }: Schema): Schema[] {
  if (properties) return [{ ...rest, properties }];
  if (anyOf) return anyOf.flatMap(objectsIn);
  return items ? objectsIn(items) : [];
}

function typeOf(schema: Schema): string {
  const { minimum, maximum, maxLength, maxItems, default: fallback } = schema;
  const most = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? maximum : undefined;
  const range = minimum !== undefined && most !== undefined ? ` ${minimum}–${most}` : '';
  const length = maxLength === undefined ? '' : ` ≤ ${maxLength}`;
  const count = maxItems === undefined ? '' : ` ≤ ${maxItems}`;
  return `${kindOf(schema)}${range}${length}${count}${fallback === undefined ? '' : ` = ${code(String(fallback))}`}`;
}

function kindOf({ $ref, type, format, enum: values, const: only, anyOf, items }: Schema): string {
  if ($ref !== undefined) return code($ref.split('/').at(-1) ?? '');
  if (values && values.length <= LONGEST_CHOICE) return values.map((value) => code(String(value))).join(' \\| ');
  if (only !== undefined) return code(String(only));
  if (anyOf) return [...new Set(anyOf.map(kindOf))].join(' \\| ');
  if (Array.isArray(type))
    return type.map((each) => (each === 'null' ? 'null' : kindOf(withFormat(each, format)))).join(' \\| ');
  if (type === 'array') return `${kindOf(items ?? {})}[]`;
  return format ?? type ?? '';
}

function withFormat(type: string, format: string | undefined): Schema {
  return format === undefined ? { type } : { type, format };
}
