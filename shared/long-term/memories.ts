import type { SupabaseClient } from '@supabase/supabase-js';
import { byPosition } from '../records/position.ts';
import { fromRow, headOf, type MemoryRecord, type MemoryRow, type RecordHead, toRow } from '../records/records.ts';
import { classifyLongTermError, type Failure, unwrap } from './errors.ts';
import { newestFirst, oldestFirst, type RowFilter, Table } from './table.ts';

/** Which records. A condition that is undefined is not applied. */
export type RecordFilter = Omit<RowFilter, 'pinned'>;

/** How one write ended: committed, with the ids that had no row before, or not. */
export type CommitResult = { failure: null; inserted: ReadonlySet<string> } | { failure: Failure };

interface TokenCounts {
  user_tokens: number;
  assistant_tokens: number;
  text_tokens: number;
}

/** The rows of `memories`: every record, for ever. */
export class Memories {
  readonly #table: Table<MemoryRow>;

  constructor(client: SupabaseClient, table: string) {
    this.#table = new Table(client, table);
  }

  /** Inserts records in one request. A record whose id has a row already is left as it is. */
  async insert(records: readonly MemoryRecord[]): Promise<CommitResult> {
    const { data, error, status } = await this.#table.insert(records.map(toRow)).select('id');
    if (error) return { failure: classifyLongTermError(error, status) };
    return { failure: null, inserted: new Set(data.map(({ id }) => id as string)) };
  }

  /** One record; null where it has no row. */
  async find(id: string): Promise<MemoryRecord | null> {
    const [record] = await this.findMany([id]);
    return record ?? null;
  }

  /** Records by their ids, in no order; an id without a row is left out. */
  async findMany(ids: readonly string[]): Promise<MemoryRecord[]> {
    return (await this.#table.byIds(ids)).map(fromRow);
  }

  /** Whose records these are and when they were made, without their tokens, which may be megabytes. */
  async findHeads(ids: readonly string[]): Promise<RecordHead[]> {
    return (await this.#table.byIds(ids, 'id,user_id,context_id,module,created_at')).map(headOf);
  }

  /** The newest records of a conversation, or of one user in it, oldest first. */
  async recent(contextId: string, limit: number, userId?: string): Promise<MemoryRecord[]> {
    const newest = newestFirst(this.#table.select({ contextId, userId }), null, limit);
    return (await this.#table.read(newest)).map(fromRow).toSorted(byPosition);
  }

  /** The records of a conversation, or of one user in it, after a position or from its beginning, oldest first. */
  async after(contextId: string, position: string | null, limit: number, userId?: string): Promise<MemoryRecord[]> {
    return (await this.#table.read(oldestFirst(this.#table.select({ contextId, userId }), position, limit))).map(
      fromRow,
    );
  }

  /** How many records a filter lets through. */
  async count(filter: RecordFilter): Promise<number> {
    return this.#table.count(filter);
  }

  /**
   * The records of all conversations that a filter lets through, after a position, oldest first, without their text caches:
   * at most `limit`, and no more than about `maxTokens` tokens unless a single record has more. Empty after the last one.
   */
  async scan(filter: RecordFilter, position: string | null, limit: number, maxTokens: number): Promise<MemoryRecord[]> {
    const next = (columns: string, count: number) =>
      this.#table.read(oldestFirst(this.#table.select(filter, columns), position, count));
    // The database answers these from an index alone. The rows themselves may be megabytes each.
    const counts = await next('user_tokens,assistant_tokens,text_tokens', limit);
    const fitting = withinTokens(counts as unknown as TokenCounts[], maxTokens);
    if (fitting === 0) return [];
    const rows = await next('id,user_id,context_id,tokens,module,cid,created_at', fitting);
    return rows.map((row) => fromRow({ ...row, text_cache: null }));
  }

  /** The ids of some records that a filter lets through, in no order. */
  async someIds(filter: RecordFilter, limit: number): Promise<string[]> {
    return (await this.#table.read(this.#table.select(filter, 'id').limit(limit))).map(({ id }) => id);
  }

  /** Deletes records together with their rows of `memory_reflections`, and says how many there were. */
  async remove(ids: readonly string[]): Promise<number> {
    return unwrap(await this.#table.rows.delete().in('id', ids).select('id'), 'deleting records').length;
  }
}

/** How many rows, from the first on, have at most so many tokens together; one where the first alone has more. */
function withinTokens(rows: readonly TokenCounts[], maxTokens: number): number {
  let sum = 0;
  const beyond = rows.findIndex((row) => (sum += row.user_tokens + row.assistant_tokens + row.text_tokens) > maxTokens);
  return beyond === -1 ? rows.length : Math.max(1, beyond);
}
