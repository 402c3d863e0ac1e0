/**
 * **doors/dashboard/page/state/**: what the page knows, how it asks the server, and what it shows when that fails.
 */
import { language, theme } from './preferences.js';

/**
 * @typedef {import('./api.js').Failure} Failure
 * @typedef {{ id: string, module: string, user_id: string | null, created_at: string, token_count?: number,
 *   cid?: string | null, user_message?: string, assistant_message?: string, text?: string }} MemoryRecord
 * @typedef {{ id: string, status: string, reason: string | null, cid: string | null }} Status
 * @typedef {{ ids: number[], text: string }} Piece
 * @typedef {{ name: string, token_count: number, pieces: Piece[], next: number | null }} Part
 * @typedef {{ encoding: string, parts: Part[], loading: boolean, failure: Failure | null }} Tokens
 * @typedef {{ id: string, cid: string, sha256: string, visibility: string, pinned_at: string | null,
 *   created_at: string }} Reflection
 * @typedef {{ loading: boolean, failure: Failure | null, ok?: boolean,
 *   checks?: { name: string, ok: boolean, detail: string }[] }} Verification
 * @typedef {{ id: string, reason: string, state: string, started_at: string, duration_ms: number | null,
 *   flushed_count: number, failed_count: number, error: string | null }} FlushRun
 * @typedef {{ context_id: string, last_created_at: string | null }} Conversation
 * @typedef {{ start: string, turns: number, tokens: number, reflections: number }} Bucket
 */

/** The number of newest records that are shown at first, and that each click on "earlier" adds. */
export const STEP = 50;
/** The most records that the API gives at once. */
export const MOST = 1000;

/** Everything that the page knows. Only `update` changes it. */
export const state = {
  language: language(),
  theme: theme(),
  /** @type {{ name: string, user_id: string | null, read_only: boolean, can_verify: boolean, has_events: boolean } | null} */
  caller: null,
  picker: {
    prefix: '',
    /** @type {Conversation[]} */
    items: [],
    active: -1,
    loading: true,
    more: false,
    /** @type {Failure | null} */
    failure: null,
  },
  /** @type {string | null} */
  contextId: null,
  /** @type {MemoryRecord[]} */
  records: [],
  /** @type {MemoryRecord[]} */
  queued: [],
  limit: STEP,
  loading: false,
  /** @type {Failure | null} */
  failure: null,
  /** @type {Map<string, Status>} */
  statuses: new Map(),
  /** The record whose button is in the tab order. @type {string | null} */
  current: null,
  /** Records whose tokens are shown. @type {Map<string, Tokens>} */
  opened: new Map(),
  /** @type {Reflection[]} */
  reflections: [],
  /** @type {Map<string, Verification>} */
  verifications: new Map(),
  /** @type {Bucket[]} */
  buckets: [],
  /** @type {any} */
  stats: null,
  /** @type {FlushRun[]} */
  flushes: [],
  flushing: false,
  /** Pending lengths as they were seen, oldest first. @type {number[]} */
  seenPending: [],
  /** @type {'live' | 'polling' | 'lost'} */
  connection: 'polling',
  /** A text for screen readers. */
  announcement: '',
};

let scheduled = false;
/** @type {() => void} */
let draw = () => undefined;

/** @param {() => void} callback is called after changes, once for all changes in one turn of the event loop */
export function onChange(callback) {
  draw = callback;
}

/** @param {Partial<typeof state>} [change] */
export function update(change = {}) {
  Object.assign(state, change);
  if (scheduled) return;
  scheduled = true;
  queueMicrotask(() => {
    scheduled = false;
    draw();
  });
}
