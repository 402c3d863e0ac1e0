import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

const ROOT = path.join(import.meta.dirname, '../..');
const CORE = 'producers/memory-core.ts';
const INDEX = 'producers/index.ts';

export interface Exported {
  name: string;
  file: string;
  isType: boolean;
}

/** What `import … from 'mnemoq'` gives, in the order of `producers/index.ts`. */
export function exportedNames(): Exported[] {
  const statements = read(INDEX).matchAll(/^export (type )?\{([^}]*)\} from '([^']+)';/gm);
  return [...statements].flatMap(([, allTypes, names = '', from = '']) =>
    names
      .split(',')
      .map((name) => name.trim())
      .filter(Boolean)
      .map((name) => ({
        name: name.replace(/^type /, ''),
        file: path.join(path.dirname(INDEX), from),
        isType: allTypes !== undefined || name.startsWith('type '),
      })),
  );
}

/**
 * How each public call of MemoryCore is declared, by its name, in the order of the class. Read from the text, because
 * TypeScript 7 has no stable interface for programs; the formatter keeps the shape that this relies on.
 */
export function callDeclarations(): Map<string, string> {
  const body = /^export class MemoryCore \{\n(.*?)^\}/ms.exec(read(CORE))?.[1] ?? '';
  const oneLine = body.replaceAll(/\((?:\n {4}.*)+\n {2}\)/g, (parameters) =>
    parameters
      .replaceAll(/\s*\n\s*/g, ' ')
      .replace('( ', '(')
      .replace(/,? ?\)$/, ')'),
  );
  const methods = oneLine.matchAll(/^ {2}(?:async )?([a-z]\w*)(<.*?>)?\((.*?)\): (.+?) \{\n/gm);
  const getters = [...oneLine.matchAll(/^ {2}get (\w+)\(\): (.+?) \{\n/gm)];
  const calls = [...methods].map(([, name = '', generic = '', parameters = '', result = '']) => {
    return [
      name,
      `${name}${generic}(${splitParameters(parameters).map(withoutDefault).join(', ')}): ${result}`,
    ] as const;
  });
  return new Map([
    ...getters.map(([, name = '', type = '']) => [name, `readonly ${name}: ${type}`] as const),
    ...calls,
  ]);
}

/** At the commas that are inside no bracket. An arrow is no bracket. */
function splitParameters(parameters: string): string[] {
  let depth = 0;
  let split = '';
  for (const [index, character] of parameters.split('').entries()) {
    if ('([{<'.includes(character)) depth++;
    if (')]}'.includes(character) || (character === '>' && parameters[index - 1] !== '=')) depth--;
    split += character === ',' && depth === 0 ? '\n' : character;
  }
  return split.split('\n').map((parameter) => parameter.trim());
}

/** A parameter that has a default may be left out, and that is all a caller needs to know. One without a type is a number. */
function withoutDefault(parameter: string): string {
  if (/^\w+ = [A-Z\d_]+$/.test(parameter)) return parameter.replace(/ = .+/, '?: number');
  const [, name = '', type = ''] = /^(\w+): (.+?) = .+$/.exec(parameter.replaceAll('=>', '\u21d2')) ?? [];
  return name === '' ? parameter : `${name}?: ${type.replaceAll('\u21d2', '=>')}`;
}

/** The declarations of everything that is exported, but the class of calls itself. */
export async function typeDeclarations(): Promise<string> {
  const blocks = await Promise.all(
    exportedNames()
      .filter(({ name }) => name !== 'MemoryCore')
      .map(declarationOf),
  );
  return `\`\`\`ts\n${blocks.join('\n\n')}\n\`\`\``;
}

async function declarationOf({ name, file }: Exported): Promise<string> {
  const source = read(file);
  const declaration = new RegExp(
    String.raw`^export (?:(?:interface|class|function) ${name}\b[\s\S]*?^\}$|(?:type|const) ${name}\b[\s\S]*?;(?: //.*)?$(?!\n[})]|\n +\S))`,
    'm',
  ).exec(source);
  if (!declaration) throw new Error(`${file}: no declaration of ${name} was found`);
  const comment = /\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n$/.exec(source.slice(0, declaration.index))?.[0] ?? '';
  const checked =
    /z\.(?:input|infer|output)<typeof (\w+)>(?:, '\w+'> & \{\s+(\w+)\?: F(?: \| undefined)?;?\s+\})?;$/.exec(
      declaration[0],
    );
  if (!checked) return `${comment}${withoutBodies(declaration[0])}`;
  const [, schema = '', generic] = checked;
  return `${comment}${await fromSchema(name, file, schema, source, generic)}`;
}

/** Of a class or a function its outside alone. */
function withoutBodies(declaration: string): string {
  if (!/^export (class|function)/.test(declaration)) return declaration;
  if (declaration.startsWith('export function')) return `${declaration.replace(/ \{\n[\s\S]*$/, '')};`;
  return declaration.replaceAll(/ \{\n(?: {4}.*\n)+ {2}\}/g, ';').replaceAll('override ', '');
}

interface Schema {
  type?: string | string[];
  enum?: string[];
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  maxItems?: number;
  format?: string;
}

/** What a call takes is declared by the schema that checks it; this is that schema as an interface. */
async function fromSchema(
  name: string,
  file: string,
  schemaName: string,
  source: string,
  generic?: string,
): Promise<string> {
  const module = (await import(path.join(ROOT, file))) as Record<string, z.ZodType | undefined>;
  const schema = module[schemaName];
  if (!schema) throw new Error(`${file}: export ${schemaName}, so that the documentation can show ${name}`);
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Schema;
  // A list is described only by what comes out of its check, a moment only by what goes in.
  const { properties: checked = {} } = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) as Schema;
  const fields = Object.entries(properties).map(([field, given]) => {
    const about = typeOf(given) === 'unknown' ? (checked[field] ?? given) : given;
    const optional = required.includes(field) ? '' : '?';
    const told = new RegExp(`\\b${field}: progressHandler<(\\w+)>\\(`).exec(source)?.[1];
    const known = told === undefined ? typeOf(about) : `(progress: ${told}) => void`;
    if (known === 'unknown') throw new Error(`${file}: what is ${field} of ${name}? The schema alone does not tell`);
    const said = boundsOf(about);
    const type = field === generic ? 'F' : known;
    return `  ${field}${optional}: ${type};${said && ` // ${said}`}`;
  });
  return `export interface ${name}${generic === undefined ? '' : '<F extends ContextFormat>'} {\n${fields.join('\n')}\n}`;
}

function typeOf({ type, enum: values, anyOf, items = {}, properties, required }: Schema): string {
  if (values) return values.map((value) => `'${value}'`).join(' | ');
  if (anyOf) return anyOf.map(typeOf).join(' | ');
  if (Array.isArray(type)) return type.map((each) => typeOf({ type: each })).join(' | ');
  if (type === 'array') return /[ |]/.test(typeOf(items)) ? `(${typeOf(items)})[]` : `${typeOf(items)}[]`;
  if (properties) return objectOf(properties, required ?? []);
  if (type === 'integer') return 'number';
  return type ?? 'unknown';
}

function objectOf(properties: Record<string, Schema>, required: readonly string[]): string {
  const fields = Object.entries(properties).map(
    ([name, about]) => `${name}${required.includes(name) ? '' : '?'}: ${typeOf(about)}`,
  );
  return `{ ${fields.join('; ')} }`;
}

function boundsOf({ type, minimum, maximum, maxLength, maxItems, format }: Schema): string {
  if (format === 'uuid') return 'UUID';
  if (format === 'date-time') return 'ISO 8601 with zone';
  if (maxLength !== undefined) return `${maxLength} characters at most`;
  if (maxItems !== undefined) return `${maxItems} at most`;
  if (type !== 'integer' || minimum === undefined) return '';
  return maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER
    ? `${minimum} or more`
    : `${minimum} to ${maximum}`;
}

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8');
}
