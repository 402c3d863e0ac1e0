import { get } from '../state/api.js';
import { state, update } from '../state/store.js';

/** @typedef {import('../state/store.js').Bucket} Bucket */

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** The longest time, in ms, that is shown in buckets of each size: people can tell a few dozens of bars apart. */
const SIZES = /** @type {const} */ ([
  ['hour', 3 * DAY],
  ['day', 120 * DAY],
  ['week', Infinity],
]);

/** Reads turns and tokens over time, for the time in which the records lie that are shown. @param {string} contextId */
export async function loadBuckets(contextId) {
  const times = state.records.map(({ created_at: createdAt }) => Date.parse(createdAt));
  if (times.length === 0) return;
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const size = SIZES.find(([, longest]) => last - first <= longest)?.[0] ?? 'week';
  const { items: buckets } = await get('/memory/trends', {
    context_id: contextId,
    from: new Date(first).toISOString(),
    to: new Date(last + 1).toISOString(),
    bucket: size,
    time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  });
  if (contextId !== state.contextId) return;
  update({
    buckets: buckets.map((/** @type {any} */ bucket) => ({
      start: bucket.from,
      turns: bucket.turns,
      tokens: bucket.user_token_count + bucket.assistant_token_count,
      reflections: bucket.reflections,
    })),
  });
}
