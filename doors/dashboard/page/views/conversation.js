import { failureOf, get } from '../state/api.js';
import { loadBuckets } from './buckets.js';
import { moment } from '../words/formats.js';
import { loadReflections } from './reflections.js';
import { MOST, state, STEP, update } from '../state/store.js';
import { tiersOf } from './tiers.js';
import { named, t } from '../words/words.js';

/** @typedef {import('../state/store.js').MemoryRecord} MemoryRecord */

/** The number of statuses that are asked for at once. */
const AT_ONCE = 50;
/** The statuses that do not change any more by themselves. A committed reflection is not among them: it waits for its pin. */
const SETTLED = new Set(['pinned', 'failed']);

/**
 * Shows the conversation that the address names, such as `#c=trip-taitung`. So an address can be kept and sent, and the button
 * "back" works.
 */
export function followAddress() {
  const contextId = new URLSearchParams(location.hash.slice(1)).get('c');
  if (contextId === state.contextId) return;
  update({
    contextId,
    records: [],
    queued: [],
    statuses: new Map(),
    opened: new Map(),
    current: null,
    reflections: [],
    verifications: new Map(),
    buckets: [],
    limit: STEP,
    failure: null,
    loading: contextId !== null,
  });
  document.title = contextId === null ? 'Mnemoq' : `${contextId} · Mnemoq`;
  if (contextId !== null) void refreshConversation();
}

/** @param {string} contextId */
export function chooseConversation(contextId) {
  location.hash = new URLSearchParams({ c: contextId }).toString();
  followAddress();
}

/** Puts the focus on the conversation after it was drawn. */
export function focusConversation() {
  requestAnimationFrame(() => document.getElementById('conversation')?.focus());
}

export function showEarlier() {
  update({ limit: Math.min(MOST, state.limit + STEP), loading: true });
  void refreshConversation();
}

/** Whether there may be records before the first one that is shown. */
export function hasEarlier() {
  return state.records.length >= state.limit && state.limit < MOST;
}

/** Reads everything that is shown of the chosen conversation again. */
export async function refreshConversation() {
  const { contextId, limit } = state;
  if (contextId === null) return;
  const path = encodeURIComponent(contextId);
  try {
    const [recent, queued] = await Promise.all([
      get(`/memory/context/${path}/recent`, { limit, format: 'turns' }),
      get('/page/of/queued', { context_id: contextId }),
    ]);
    if (contextId !== state.contextId) return; // another conversation was chosen in the meantime
    const known = new Set(recent.items.map((/** @type {MemoryRecord} */ { id }) => id));
    const waiting = queued.items.filter((/** @type {MemoryRecord} */ { id }) => !known.has(id));
    update({ records: recent.items, queued: waiting, loading: false, failure: null });
    await Promise.all([refreshStatuses(contextId), loadReflections(contextId), loadBuckets(contextId)]);
  } catch (error) {
    if (contextId === state.contextId) update({ loading: false, failure: failureOf(error) });
  }
}

/** Asks for the status of the records whose status can still change. @param {string} contextId */
async function refreshStatuses(contextId) {
  const asked = state.records.filter(({ id, module }) => !isSettled(id, module)).map(({ id }) => id);
  for (let start = 0; start < asked.length; start += AT_ONCE) {
    const { items: statuses } = await get('/page/of/statuses', { ids: asked.slice(start, start + AT_ONCE).join(',') });
    if (contextId !== state.contextId) return;
    const before = state.statuses;
    const next = new Map(before);
    for (const status of statuses) next.set(status.id, status);
    const changed = statuses.filter(
      (/** @type {import('../state/store.js').Status} */ { id, status }) =>
        before.has(id) && before.get(id)?.status !== status,
    );
    update({ statuses: next, ...(changed.length > 0 && { announcement: announce(changed) }) });
  }
}

/** @param {string} id @param {string} module */
function isSettled(id, module) {
  const status = state.statuses.get(id)?.status ?? '';
  return SETTLED.has(status) || (status === 'committed' && module === 'chat');
}

/** Announces only the last change, because a screen reader would read a hundred of them. @param {import('../state/store.js').Status[]} changed */
function announce(changed) {
  const last = changed.at(-1);
  const record = state.records.find(({ id }) => id === last?.id);
  if (!last || !record) return state.announcement;
  const tiers = tiersOf(last.status).map((tier) => named('tier', tier));
  return t('tier.now', { time: moment(record.created_at), tiers: tiers.join(', ') });
}
