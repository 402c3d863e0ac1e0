import { z } from 'zod';
import { validate } from '../../shared/validate.ts';

/** How long `wait: true` waits. */
const DEFAULT_WAIT_MS = 30_000;
const LONGEST_WAIT_MS = 600_000;

/** What a save returns. */
export interface Receipt {
  success: true;
  /** The record's UUID; ask `getStatus` for it. */
  id: string;
  /** True from the moment Redis has it, in the queue or in the cache. */
  redisStored: boolean;
  /** True when the save was waited for and Supabase has the row. */
  supabaseStored: boolean;
  /** Known when the save was waited for. */
  tokenCount: number | null;
  conversationId: string;
  /** Of a reflection that was waited for. */
  cid: string | null;
  /** What happened so far, in words. */
  note: string;
}

export interface SaveOptions {
  /** Resolve when the worker is through (cached, committed if important, pinned) instead of when queued; ms, or true for 30 s. */
  wait?: boolean | number;
}

const saveOptions = z.strictObject({
  wait: z
    .union([z.boolean(), z.int().min(1).max(LONGEST_WAIT_MS)], `true, false or 1 to ${LONGEST_WAIT_MS} ms`)
    .optional(),
});

/** How long a save waits; null when it does not. */
export function waitMs(options: SaveOptions): number | null {
  const { wait = false } = validate(saveOptions, options, 'the options');
  if (wait === true) return DEFAULT_WAIT_MS;
  return wait === false ? null : wait;
}

export function receiptOf(
  job: { id: string; contextId: string },
  known: Partial<Pick<Receipt, 'supabaseStored' | 'tokenCount' | 'cid'>> & { note: string },
): Receipt {
  const { id, contextId } = job;
  const start = { supabaseStored: false, tokenCount: null, cid: null };
  return { success: true, id, redisStored: true, conversationId: contextId, ...start, ...known };
}
