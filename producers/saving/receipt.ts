import { z } from 'zod';
import { validate } from '../../shared/validate.ts';

/** How long a save or a retry with `wait: true` waits. */
export const DEFAULT_WAIT_MS = 30_000;
const LONGEST_WAIT_MS = 600_000;

/** What a save gives back. */
export interface Receipt {
  success: true;
  /** The record's UUID. `getStatus` tells how far that record has come. */
  id: string;
  /** True from the moment at which Redis has the record, in the queue or in the cache. */
  redisStored: boolean;
  /** True when the save was waited for and Supabase has the row by now. */
  supabaseStored: boolean;
  /** Null unless the save was waited for. */
  tokenCount: number | null;
  contextId: string;
  /** The same as `contextId`, by the name that the original guide has for it. */
  conversationId: string;
  /** The CID of a reflection, a fine-tune output or a knowledge item that was waited for; otherwise null. */
  cid: string | null;
  /** What has happened so far, in words. */
  note: string;
}

export interface SaveOptions {
  /**
   * How long to wait for the worker, in milliseconds; `true` waits 30 s. The save then resolves when a turn is cached,
   * an important turn is committed, or any other record is pinned. By default it resolves when the record is queued.
   */
  wait?: boolean | number;
}

/** The option `wait` of every call that has it. */
export const waitOption = z
  .union([z.boolean(), z.int().min(1).max(LONGEST_WAIT_MS)], `true, false or 1 to ${LONGEST_WAIT_MS} ms`)
  .optional();
const saveOptions = z.strictObject({ wait: waitOption });

/** How long a save waits, in milliseconds; null when it does not wait. */
export function waitMs(options: SaveOptions): number | null {
  const { wait = false } = validate(saveOptions, options, 'the options');
  return inMs(wait, DEFAULT_WAIT_MS);
}

/** A wait in milliseconds, where `true` means `usual` of them; null when there is none. */
export function inMs(wait: boolean | number, usual: number): number | null {
  if (wait === true) return usual;
  return wait === false ? null : wait;
}

export function receiptOf(
  job: { id: string; contextId: string },
  known: Partial<Pick<Receipt, 'supabaseStored' | 'tokenCount' | 'cid'>> & { note: string },
): Receipt {
  const { id, contextId } = job;
  const start = { supabaseStored: false, tokenCount: null, cid: null };
  return { success: true, id, redisStored: true, contextId, conversationId: contextId, ...start, ...known };
}
