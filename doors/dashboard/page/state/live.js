import { loadConversations } from '../views/picker.js';
import { refreshConversation } from '../views/conversation.js';
import { refreshFlow } from '../views/flow.js';
import { failureOf } from './api.js';
import { state, update } from './store.js';

/** The time between two looks, in ms. The page looks also when no events come: jobs in a queue and flushes have none. */
const POLL_MS = 4_000;
/** Several events come together. After this time, in ms, one look shows all of them. */
const GATHER_MS = 200;
const EVENTS = ['record.cached', 'records.committed', 'record.pinned', 'record.quarantined'];

let gathering = 0;
let isStreaming = false;

/** Keeps everything that is shown up to date while the page is visible. */
export function stayCurrent() {
  if (state.caller?.has_events) listen();
  setInterval(() => {
    if (document.visibilityState === 'visible') void refresh();
  }, POLL_MS);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') void refresh();
  });
}

export async function refresh() {
  const looks = [refreshFlow(), refreshConversation(), ...(state.picker.prefix === '' ? [loadConversations()] : [])];
  const results = await Promise.allSettled(looks);
  const isLost = results.some((result) => result.status === 'rejected' && failureOf(result.reason).status <= 0);
  update({ connection: isLost || state.failure?.status === 0 ? 'lost' : isStreaming ? 'live' : 'polling' });
}

/**
 * Follows the events. The browser opens a stream that ended again by itself. A stream that was refused stays closed, and then the
 * page is kept up to date by the looks alone.
 */
function listen() {
  const events = new EventSource('/memory/events');
  const soon = () => {
    clearTimeout(gathering);
    gathering = setTimeout(refresh, GATHER_MS);
  };
  events.addEventListener('open', () => {
    isStreaming = true;
    soon();
  });
  events.addEventListener('error', () => {
    isStreaming = false;
  });
  for (const name of EVENTS) events.addEventListener(name, soon);
}
