import type { SupabaseClient } from '@supabase/supabase-js';
import type { MemoryRow } from '../records/records.ts';
import type { Tokens } from '../records/tokens.ts';
import { unwrap } from './errors.ts';
import type { ReflectionRow } from './reflections.ts';
import { Table } from './table.ts';

/** How many rows one request looks at, however few of them it finds: so the database's work is bounded. */
export const WINDOW = 500;

/** What of a record may be sealed. */
export interface Sealable {
  tokens: Tokens;
  textCache: string | null;
}

export interface SealedRow extends Sealable {
  id: string;
}

export interface WrappedKeyRow {
  id: string;
  wrappedKey: string;
}

/** What is sealed in Supabase: it is looked through in the order of ids, and exchanged only where it is as it was read. */
export class SealedRows {
  readonly #memories: Table<MemoryRow>;
  readonly #reflections: Table<ReflectionRow>;

  constructor(client: SupabaseClient, memoriesTable: string, reflectionsTable: string) {
    this.#memories = new Table(client, memoriesTable);
    this.#reflections = new Table(client, reflectionsTable);
  }

  /**
   * Records in which something may be sealed with another key than `kid` or, where that is asked for, is plain. They come
   * by the window.
   */
  async *records(kid: string, plain: { tokens: boolean; text: boolean }): AsyncGenerator<SealedRow[]> {
    const textIsOther = and([...(plain.text ? [] : ['text_cache.like.v1.*']), ...notSealedWith('text_cache', kid)]);
    const tokensAreOther = and(['tokens->>sealed.not.is.null', ...notSealedWith('tokens->>sealed', kid)]);
    const wanted = [textIsOther, tokensAreOther, ...(plain.tokens ? ['tokens->>sealed.is.null'] : [])].join();
    const query = () => this.#memories.select({}, 'id,tokens,text_cache').or(wanted);
    for await (const rows of inWindows(this.#memories, query)) {
      yield rows.map((row) => ({ id: row.id, tokens: row.tokens, textCache: row.text_cache }));
    }
  }

  /** Rows of `memory_reflections` with a key of their own. They come by the window. */
  async *wrappedKeys(): AsyncGenerator<WrappedKeyRow[]> {
    const query = () => this.#reflections.select({}, 'id,wrapped_key').not('wrapped_key', 'is', null);
    for await (const rows of inWindows(this.#reflections, query)) {
      yield rows.map((row) => ({ id: row.id, wrappedKey: row.wrapped_key as string }));
    }
  }

  /** False where the record is gone or is not as it was read: an update never brings a row back. */
  async exchangeRecord(id: string, before: Sealable, after: Sealable): Promise<boolean> {
    let query = this.#memories.rows.update({ tokens: after.tokens, text_cache: after.textCache }).eq('id', id);
    query =
      'sealed' in before.tokens
        ? query.like('tokens->>sealed', `${beginningOf(before.tokens.sealed)}%`)
        : query.is('tokens->>sealed', null);
    if (before.textCache === null) query = query.is('text_cache', null);
    else if (before.textCache.startsWith('v1.')) query = query.like('text_cache', `${beginningOf(before.textCache)}%`);
    else query = query.not('text_cache', 'like', 'v1.%');
    return unwrap(await query.select('id'), 'sealing a record anew').length > 0;
  }

  /** False where the row is gone or its key is not as it was read. */
  async exchangeWrappedKey({ id, wrappedKey }: WrappedKeyRow, after: string): Promise<boolean> {
    const rows = this.#reflections.rows.update({ wrapped_key: after }).eq('id', id);
    return unwrap(await rows.eq('wrapped_key', wrappedKey).select('id'), 'wrapping a key anew').length > 0;
  }
}

/** The rows that a question finds in one window of ids after the other. */
async function* inWindows<Row>(
  table: Table<Row>,
  question: () => ReturnType<Table<Row>['select']>,
): AsyncGenerator<Row[]> {
  for (let after: string | null = null; ;) {
    const upTo: string | null = await lastOfWindow(table, after);
    let query = question();
    if (after !== null) query = query.gt('id', after);
    if (upTo !== null) query = query.lte('id', upTo);
    yield await table.read(query.order('id').limit(WINDOW));
    if (upTo === null) return;
    after = upTo;
  }
}

/** The last id of a whole window after an id; null where less than a window is left. */
async function lastOfWindow<Row>(table: Table<Row>, after: string | null): Promise<string | null> {
  let ids = table.rows.select('id');
  if (after !== null) ids = ids.gt('id', after);
  const [last] = unwrap(await ids.order('id').range(WINDOW - 1, WINDOW - 1), 'reading ids');
  return last?.id ?? null;
}

/** Version, key id and IV. The IV is random, so this is as good as the whole value, and it is short enough for a URL. */
function beginningOf(sealed: string): string {
  return `${sealed.split('.').slice(0, 3).join('.')}.`;
}

/**
 * An underscore stands for any character in LIKE, so a key with an underscore in its name cannot be told apart here: all
 * sealed rows are found then, and the reader of the rows tells them apart.
 */
function notSealedWith(column: string, kid: string): string[] {
  return kid.includes('_') ? [`${column}.not.is.null`] : [`${column}.not.like.v1.${kid}.*`];
}

function and(conditions: readonly string[]): string {
  return `and(${conditions.join()})`;
}
