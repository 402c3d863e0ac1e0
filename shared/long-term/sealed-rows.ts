import type { SupabaseClient } from '@supabase/supabase-js';
import { unwrap } from '../../shared/long-term/long-term.ts';
import { connectSupabase, type SupabaseConfig } from '../../shared/long-term/supabase.ts';
import type { Tokens } from '../../shared/records/tokens.ts';

/** Rows looked at in one request: bounded work for the database, however few of them are found. */
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

/** Rows after one id up to another; null is before the first and after the last. */
interface Window {
  after: string | null;
  upTo: string | null;
}

/** What is sealed in Supabase, looked through in the order of ids, and exchanged only where it is as it was read. */
export class SealedRows {
  readonly #client: SupabaseClient;
  readonly #memories: string;
  readonly #reflections: string;

  constructor(config: SupabaseConfig) {
    this.#client = connectSupabase(config);
    this.#memories = config.memoriesTable;
    this.#reflections = config.reflectionsTable;
  }

  /** Records in which something may be sealed with another key than `kid` or, where that is asked for, plain; by the window. */
  async *records(kid: string, plain: { tokens: boolean; text: boolean }): AsyncGenerator<SealedRow[]> {
    const textIsOther = and([...(plain.text ? [] : ['text_cache.like.v1.*']), ...notSealedWith('text_cache', kid)]);
    const tokensAreOther = and(['tokens->>sealed.not.is.null', ...notSealedWith('tokens->>sealed', kid)]);
    const wanted = [textIsOther, tokensAreOther, ...(plain.tokens ? ['tokens->>sealed.is.null'] : [])].join();
    for await (const { after, upTo } of this.#windows(this.#memories)) {
      let query = this.#client.from(this.#memories).select('id,tokens,text_cache').or(wanted);
      if (after !== null) query = query.gt('id', after);
      if (upTo !== null) query = query.lte('id', upTo);
      const rows = unwrap(await query.order('id').limit(WINDOW), 'reading records');
      yield rows.map((row) => ({ id: row.id, tokens: row.tokens as Tokens, textCache: row.text_cache }));
    }
  }

  /** Rows of `memory_reflections` with a key of their own; by the window. */
  async *wrappedKeys(): AsyncGenerator<WrappedKeyRow[]> {
    for await (const { after, upTo } of this.#windows(this.#reflections)) {
      let query = this.#client.from(this.#reflections).select('id,wrapped_key').not('wrapped_key', 'is', null);
      if (after !== null) query = query.gt('id', after);
      if (upTo !== null) query = query.lte('id', upTo);
      const rows = unwrap(await query.order('id').limit(WINDOW), 'reading reflections');
      yield rows.map((row) => ({ id: row.id, wrappedKey: row.wrapped_key as string }));
    }
  }

  /** False where the record is gone or not as it was read: an update never brings a row back. */
  async exchangeRecord(id: string, before: Sealable, after: Sealable): Promise<boolean> {
    let query = this.#client
      .from(this.#memories)
      .update({ tokens: after.tokens, text_cache: after.textCache })
      .eq('id', id);
    query =
      'sealed' in before.tokens
        ? query.like('tokens->>sealed', `${beginningOf(before.tokens.sealed)}%`)
        : query.is('tokens->>sealed', null);
    if (before.textCache === null) query = query.is('text_cache', null);
    else if (before.textCache.startsWith('v1.')) query = query.like('text_cache', `${beginningOf(before.textCache)}%`);
    else query = query.not('text_cache', 'like', 'v1.%');
    return unwrap(await query.select('id'), 'sealing a record anew').length > 0;
  }

  async exchangeWrappedKey({ id, wrappedKey }: WrappedKeyRow, after: string): Promise<boolean> {
    const rows = this.#client.from(this.#reflections).update({ wrapped_key: after }).eq('id', id);
    return unwrap(await rows.eq('wrapped_key', wrappedKey).select('id'), 'wrapping a key anew').length > 0;
  }

  async *#windows(table: string): AsyncGenerator<Window> {
    for (let after: string | null = null; ;) {
      let ids = this.#client.from(table).select('id');
      if (after !== null) ids = ids.gt('id', after);
      const [last] = unwrap(await ids.order('id').range(WINDOW - 1, WINDOW - 1), 'reading ids');
      const upTo: string | null = last?.id ?? null;
      yield { after, upTo };
      if (upTo === null) return;
      after = upTo;
    }
  }
}

/** Version, key id and IV, which is random: as good as the whole value, and short enough for a URL. */
function beginningOf(sealed: string): string {
  return `${sealed.split('.').slice(0, 3).join('.')}.`;
}

/** An underscore stands for any character in LIKE: a key with one in its name is told apart by who reads the rows. */
function notSealedWith(column: string, kid: string): string[] {
  return kid.includes('_') ? [`${column}.not.is.null`] : [`${column}.not.like.v1.${kid}.*`];
}

function and(conditions: readonly string[]): string {
  return `and(${conditions.join()})`;
}
