import { loadConversations } from '../views/picker.js';
import { refreshConversation } from '../views/conversation.js';
import { refreshFlow } from '../views/flow.js';
import { failureOf } from './api.js';
import { state, update } from './store.js';

/** Looked at this often, in ms, also without events: what is queued and the flushes have none. */
const POLL_MS = 4_000;
/** Events come in bursts; one look after the first of them is enough. */
const GATHER_MS = 200;
const EVENTS = ['record.cached', 'records.committed', 'record.pinned', 'record.quarantined'];

let gathering = 0;
let isStreaming = false;

/** Keeps everything that is shown up to date, as long as the page is being looked at. */
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

/** A stream that ends the browser opens again by itself; one that is refused stays closed, and looking now and then remains. */
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
