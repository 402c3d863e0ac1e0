import type { SupabaseClient } from '@supabase/supabase-js';
import { type RecordFilter, type ReflectionRow, unwrap } from './long-term.ts';
import type { PinnedModule } from '../records/records.ts';
import { connectSupabase, inOrder, type RowsQuery, type SupabaseConfig } from './supabase.ts';

/** Which pinned records; what is undefined is not looked at. */
type PinnedFilter = Omit<RecordFilter, 'module'> & { module?: PinnedModule | undefined };

/** The rows of `memory_reflections` many at a time, for archives of them and for what is rebuilt from those. */
export class PinnedRows {
  readonly #client: SupabaseClient;
  readonly #table: string;

  constructor(config: SupabaseConfig) {
    this.#client = connectSupabase(config);
    this.#table = config.reflectionsTable;
  }

  /** How many pinned ones a filter lets through. */
  async count(filter: PinnedFilter): Promise<number> {
    const answer = await this.#pinned(filter, 'id', { count: 'exact', head: true });
    return unwrap({ ...answer, data: answer.count }, 'counting reflections');
  }

  /** Pinned ones that a filter lets through, after a position, oldest first. */
  async after(filter: PinnedFilter, position: string | null, limit: number): Promise<ReflectionRow[]> {
    const rows = unwrap(await inOrder(this.#pinned(filter, '*'), position, limit), 'reading reflections');
    return rows as unknown as ReflectionRow[];
  }

  /** By id, pinned or not. */
  async find(ids: readonly string[]): Promise<Map<string, ReflectionRow>> {
    const rows = unwrap(await this.#client.from(this.#table).select('*').in('id', ids), 'reading reflections');
    return new Map((rows as ReflectionRow[]).map((row) => [row.id, row]));
  }

  /** Adds rows; one whose id is there already is left as it is. */
  async add(rows: readonly ReflectionRow[]): Promise<void> {
    const upsert = this.#client.from(this.#table).upsert([...rows], { onConflict: 'id', ignoreDuplicates: true });
    unwrap(await upsert.select('id'), 'keeping reflections');
  }

  #pinned(
    { module, userId, contextId, from, to }: PinnedFilter,
    columns: string,
    options: { count?: 'exact'; head?: boolean } = {},
  ): RowsQuery {
    const all: RowsQuery = this.#client.from(this.#table).select<string, unknown>(columns, options);
    let query = all.not('pinned_at', 'is', null);
    if (module !== undefined) query = query.eq('module', module);
    if (userId !== undefined) query = query.eq('user_id', userId);
    if (contextId !== undefined) query = query.eq('context_id', contextId);
    if (from !== undefined) query = query.gte('created_at', from);
    return to === undefined ? query : query.lt('created_at', to);
  }
}
