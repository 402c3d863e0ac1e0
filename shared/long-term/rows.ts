import { createClient, type PostgrestSingleResponse, type SupabaseClient } from '@supabase/supabase-js';
import type { ConfigWith } from '../settings/config.ts';

/** A question to one table that more conditions may be put to. */
export type RowsQuery = ReturnType<ReturnType<SupabaseClient['from']>['select']>;

export type SupabaseConfig = ConfigWith<'supabaseUrl' | 'supabaseServiceRoleKey'>;

export function connectSupabase(config: SupabaseConfig): SupabaseClient {
  return createClient(config.supabaseUrl, config.supabaseServiceRoleKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    // Whoever asks decides about trying again: a reader is told, a worker puts its job off.
    db: { timeout: config.supabaseTimeoutMs, retry: false },
  });
}

/** Rows in `(created_at, id)` order. */
export async function inOrder(
  query: RowsQuery,
  position: string | null,
  limit: number,
): Promise<PostgrestSingleResponse<unknown[]>> {
  const [createdAt, id] = position?.split('|') ?? [];
  // The plain lower bound lets the index skip to the place; the pair decides among equal times.
  const bounded =
    createdAt === undefined
      ? query
      : query.gte('created_at', createdAt).or(`created_at.gt.${createdAt},and(created_at.eq.${createdAt},id.gt.${id})`);
  return bounded.order('created_at').order('id').limit(limit);
}

/** Rows that come before a position; all without one. */
export function before(position: string | null, query: RowsQuery): RowsQuery {
  const [createdAt, id] = position?.split('|') ?? [];
  if (createdAt === undefined) return query;
  // As in inOrder: the plain bound is the index's, the pair decides among equal times.
  return query
    .lte('created_at', createdAt)
    .or(`created_at.lt.${createdAt},and(created_at.eq.${createdAt},id.lt.${id})`);
}
