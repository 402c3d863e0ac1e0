import type { SupabaseClient } from '@supabase/supabase-js';
import type { PinnedModule, Visibility } from '../records/records.ts';
import { unwrap } from './errors.ts';
import { newestFirst, oldestFirst, type RowFilter, Table } from './table.ts';

/** A row of `memory_reflections`. */
export interface ReflectionRow {
  id: string;
  context_id: string;
  user_id: string | null;
  module: PinnedModule;
  cid: string;
  sha256: string;
  signature: string;
  signing_kid: string;
  signing_key: string;
  wrapped_key: string | null;
  visibility: Visibility;
  source_ids: string[];
  /** The CID of the newest earlier record of the same module, conversation and user; null where there was none. */
  previous_cid: string | null;
  /** Null until the document is pinned. */
  pinned_at: string | null;
  created_at: string;
}

/** Which rows of `memory_reflections`. A condition that is undefined is not applied. */
export type ReflectionFilter = RowFilter & { module?: PinnedModule | undefined };

/** The rows of `memory_reflections`: what is needed to verify and to read a pinned document. */
export class Reflections {
  readonly #table: Table<ReflectionRow>;
  readonly #memories: Table<unknown>;

  constructor(client: SupabaseClient, table: string, memoriesTable: string) {
    this.#table = new Table(client, table);
    this.#memories = new Table(client, memoriesTable);
  }

  /** Adds rows. A row whose id is there already is left as it is. Answers with those that were added. */
  async add(rows: readonly ReflectionRow[]): Promise<ReflectionRow[]> {
    return unwrap(await this.#table.insert(rows).select('*'), 'keeping reflections');
  }

  /** Keeps what is needed to verify and to read a reflection, before it is pinned. A row that is there wins and is returned. */
  async keep(row: ReflectionRow): Promise<ReflectionRow> {
    const [added] = await this.add([row]);
    return added ?? ((await this.find({ id: row.id })) as ReflectionRow);
  }

  /**
   * Writes back that a reflection is pinned: its CID into both tables, and when that was. The row with `pinned_at` comes
   * last, so where that stands everything is written. The wrapped key is left alone, because it may have been sealed with
   * another key meanwhile.
   */
  async setPinned({ id, cid, pinned_at }: Pick<ReflectionRow, 'id' | 'cid' | 'pinned_at'>): Promise<void> {
    const changes = [
      this.#memories.rows.update({ cid }).eq('id', id),
      this.#table.rows.update({ cid, pinned_at }).eq('id', id),
    ];
    // A query is sent when it is awaited, so the second one waits for the first.
    for (const change of changes) unwrap(await change.select('id'), 'writing a CID back');
  }

  async find(by: { id: string } | { cid: string }): Promise<ReflectionRow | null> {
    const query = 'id' in by ? this.#table.select({}).eq('id', by.id) : this.#table.select(by);
    const [row] = await this.#table.read(query.limit(1));
    return row ?? null;
  }

  /** Rows by their ids, in no order; an id without a row is left out. */
  async findMany(ids: readonly string[]): Promise<ReflectionRow[]> {
    return this.#table.byIds(ids);
  }

  /** Which of some CIDs have a row. */
  async knownCids(cids: readonly string[]): Promise<string[]> {
    return (await this.#table.read(this.#table.select({}, 'cid').in('cid', cids))).map(({ cid }) => cid);
  }

  /** How many rows a filter lets through. */
  async count(filter: ReflectionFilter): Promise<number> {
    return this.#table.count(filter);
  }

  /** The rows that a filter lets through, after a position or from the first on, oldest first. */
  async after(filter: ReflectionFilter, position: string | null, limit: number): Promise<ReflectionRow[]> {
    return this.#table.read(oldestFirst(this.#table.select(filter), position, limit));
  }

  /** The rows that a filter lets through, before a position or from the last on, newest first. */
  async before(filter: ReflectionFilter, position: string | null, limit: number): Promise<ReflectionRow[]> {
    return this.#table.read(newestFirst(this.#table.select(filter), position, limit));
  }

  /** Pinned knowledge before a position, newest first. With a user, only what belongs to that user or to nobody. */
  async knowledge(position: string | null, limit: number, userId?: string): Promise<ReflectionRow[]> {
    const all = this.#table.select({ module: 'knowledge', pinned: true });
    const query = userId === undefined ? all : all.or(`user_id.is.null,user_id.eq.${quoted(userId)}`);
    return this.#table.read(newestFirst(query, position, limit));
  }

  /** Some rows that a filter lets through, in no order. */
  async some(filter: ReflectionFilter, limit: number): Promise<ReflectionRow[]> {
    return this.#table.read(this.#table.select(filter).limit(limit));
  }

  /** The rows that a filter lets through, in the order of their ids, after an id or from the first on. */
  async afterId(filter: ReflectionFilter, id: string | null, limit: number): Promise<ReflectionRow[]> {
    const all = this.#table.select(filter);
    const rest = id === null ? all : all.gt('id', id);
    return this.#table.read(rest.order('id').limit(limit));
  }
}

/** A value within an `or`, where a comma or a parenthesis would end it. */
function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&')}"`;
}
