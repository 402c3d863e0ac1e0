import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { parsePosition } from '../records/position.ts';
import type { Module } from '../records/records.ts';
import type { ConfigWith } from '../settings/config.ts';
import { type Answer, unwrap } from './errors.ts';

export type SupabaseConfig = ConfigWith<'supabaseUrl' | 'supabaseServiceRoleKey'>;

/** A question to one table, to which more conditions may be added. */
type RowsQuery = ReturnType<ReturnType<SupabaseClient['from']>['select']>;

/** Which rows of a table. A condition that is undefined is not applied. */
export interface RowFilter {
  module?: Module | undefined;
  /** Null means the rows that belong to no user. */
  userId?: string | null | undefined;
  contextId?: string | undefined;
  cid?: string | undefined;
  /** Rows from this moment on. */
  from?: string | undefined;
  /** Rows before this moment. */
  to?: string | undefined;
  /** Only rows whose document is pinned; the table `memory_reflections` alone can tell. */
  pinned?: boolean | undefined;
}

export function connectSupabase(config: SupabaseConfig): SupabaseClient {
  return createClient(config.supabaseUrl, config.supabaseServiceRoleKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    // The caller decides about trying again: a reader is told of the failure, a worker puts its job off.
    db: { timeout: config.supabaseTimeoutMs, retry: false },
  });
}

/** One of the two tables, whose rows have an id, a conversation, a user, a module and a time. */
export class Table<Row> {
  readonly name: string;
  readonly #client: SupabaseClient;

  constructor(client: SupabaseClient, name: string) {
    this.#client = client;
    this.name = name;
  }

  /** Begins any other question than those below. */
  get rows() {
    return this.#client.from(this.name);
  }

  /** The rows that a filter lets through. */
  select(filter: RowFilter, columns = '*'): RowsQuery {
    return filtered(this.rows.select<string, unknown>(columns), filter);
  }

  /** Adds rows in one request and leaves those alone whose id is there already. Answers with those it has added. */
  insert(rows: readonly Row[]) {
    return this.rows.upsert<object>([...rows] as object[], { onConflict: 'id', ignoreDuplicates: true });
  }

  async count(filter: RowFilter): Promise<number> {
    const answer = await filtered(this.rows.select<string, unknown>('id', { count: 'exact', head: true }), filter);
    return unwrap({ ...answer, data: answer.count }, `counting the rows of ${this.name}`);
  }

  /** Rows by their ids, in no order; an id without a row is left out. */
  async byIds(ids: readonly string[], columns = '*'): Promise<Row[]> {
    return this.read(this.select({}, columns).in('id', ids));
  }

  /** Throws `supabase_unavailable` where the answer is none. */
  async read(query: PromiseLike<Answer<unknown[]>>): Promise<Row[]> {
    return unwrap(await query, `reading ${this.name}`) as Row[];
  }
}

function filtered(all: RowsQuery, { module, userId, contextId, cid, from, to, pinned }: RowFilter): RowsQuery {
  let query = all;
  if (module !== undefined) query = query.eq('module', module);
  if (userId !== undefined) query = userId === null ? query.is('user_id', null) : query.eq('user_id', userId);
  if (contextId !== undefined) query = query.eq('context_id', contextId);
  if (cid !== undefined) query = query.eq('cid', cid);
  if (from !== undefined) query = query.gte('created_at', from);
  if (to !== undefined) query = query.lt('created_at', to);
  return pinned ? query.not('pinned_at', 'is', null) : query;
}

/** Rows that come after a position, from the first on without one, in the order of their positions. */
export function oldestFirst(query: RowsQuery, position: string | null, limit: number): RowsQuery {
  return after(query, position).order('created_at').order('id').limit(limit);
}

/** Rows that come before a position, from the last on without one, against the order of their positions. */
export function newestFirst(query: RowsQuery, position: string | null, limit: number) {
  const down = { ascending: false };
  return before(query, position).order('created_at', down).order('id', down).limit(limit);
}

/** The plain bound lets the index skip to the place; the pair decides among equal times. */
function after(query: RowsQuery, position: string | null): RowsQuery {
  if (position === null) return query;
  const { createdAt, id } = parsePosition(position);
  return query
    .gte('created_at', createdAt)
    .or(`created_at.gt.${createdAt},and(created_at.eq.${createdAt},id.gt.${id})`);
}

/** As in `after`: the plain bound is there for the index, and the pair decides among equal times. */
function before(query: RowsQuery, position: string | null): RowsQuery {
  if (position === null) return query;
  const { createdAt, id } = parsePosition(position);
  return query
    .lte('created_at', createdAt)
    .or(`created_at.lt.${createdAt},and(created_at.eq.${createdAt},id.lt.${id})`);
}
