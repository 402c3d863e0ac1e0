import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string }[];
  requestBody?: object;
  responses: Record<string, { content?: Record<string, object> }>;
}

interface Document {
  paths: Record<string, Record<string, Operation>>;
}

export interface Call {
  /** Goes into `Authorization` as a bearer; nobody in particular without it. */
  key?: string | null;
  path?: Record<string, string>;
  query?: Record<string, string | number>;
  headers?: Record<string, string>;
  body?: unknown;
}

export interface Answered {
  status: number;
  headers: Headers;
  text: string;
  /** The body where it is JSON. */
  json: never;
}

/**
 * Calls an API from the document it serves. Throws when a call or an answer is not as the document says: a parameter that
 * it does not name, a status, a content type or a body it does not tell of.
 */
export class OpenApiClient {
  readonly #baseUrl: string;
  readonly #ajv: Ajv2020;
  readonly #operations = new Map<string, { method: string; path: string; pointer: string; operation: Operation }>();
  /** What has been called, and answered with success. */
  readonly succeeded = new Set<string>();

  /** Where a judge stands between this client and the server: its address. */
  static through: ((baseUrl: string) => Promise<string>) | null = null;
  /** Sees every answer before it is checked here. */
  static onAnswer: (id: string, response: Response) => void = () => undefined;

  static async of(baseUrl: string): Promise<OpenApiClient> {
    const response = await fetch(new URL('/docs/json', baseUrl));
    const document = (await response.json()) as Document;
    return new OpenApiClient((await OpenApiClient.through?.(baseUrl)) ?? baseUrl, document);
  }

  private constructor(baseUrl: string, document: Document) {
    this.#baseUrl = baseUrl;
    this.#ajv = new Ajv2020({ strict: false, allErrors: true });
    (formats as unknown as (ajv: Ajv2020) => void)(this.#ajv);
    this.#ajv.addSchema(document, 'document');
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const pointer = `#/paths/${escapePointer(path)}/${method}`;
        this.#operations.set(operation.operationId, { method: method.toUpperCase(), path, pointer, operation });
      }
    }
  }

  get operationIds(): string[] {
    return [...this.#operations.keys()];
  }

  /** Names of the parameters of a kind. */
  parametersOf(id: string, kind: 'path' | 'query' | 'header'): string[] {
    const { parameters = [] } = this.#known(id).operation;
    return parameters.filter((each) => each.in === kind).map(({ name }) => name);
  }

  hasBody(id: string): boolean {
    return this.#known(id).operation.requestBody !== undefined;
  }

  async call(id: string, { key = null, path = {}, query = {}, headers = {}, body }: Call = {}): Promise<Answered> {
    const known = this.#known(id);
    const url = new URL(
      known.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(path[name] ?? '')),
      this.#baseUrl,
    );
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
    const response = await fetch(url, {
      method: known.method,
      headers: {
        ...(key !== null && { authorization: `Bearer ${key}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    OpenApiClient.onAnswer(id, response);
    const text = await response.text();
    const json = this.#check(id, response, text);
    if (response.ok) this.succeeded.add(id);
    return { status: response.status, headers: response.headers, text, json: json as never };
  }

  #check(id: string, response: Response, text: string): unknown {
    const { operation, pointer } = this.#known(id);
    const told = operation.responses[String(response.status)];
    const type = (response.headers.get('content-type') ?? '').split(';')[0]?.trim() ?? '';
    if (!told?.content?.[type])
      throw new Error(`${id}: the document has no ${response.status} of type ${type}: ${text}`);
    if (!/[/+]json$/.test(type)) return null;
    const at = `${pointer}/responses/${response.status}/content/${escapePointer(type)}/schema`;
    const body: unknown = JSON.parse(text);
    const validate = this.#ajv.getSchema(`document${at}`) as ValidateFunction | undefined;
    if (!validate) throw new Error(`${id}: no schema at ${at}`);
    if (!validate(body)) throw new Error(`${id}: ${this.#ajv.errorsText(validate.errors)} in ${text}`);
    return body;
  }

  #known(id: string) {
    const known = this.#operations.get(id);
    if (!known) throw new Error(`the document has no operation ${id}`);
    return known;
  }
}

function escapePointer(part: string): string {
  return encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));
}
