import { html, nothing } from '/page/lit-html/lit-html.js';
import { repeat } from '/page/lit-html/directives/repeat.js';
import { failureOf, get, post } from '../state/api.js';
import { refreshConversation } from './conversation.js';
import { clock, number, span } from '../words/formats.js';
import { failureNotice } from '../state/notices.js';
import { state, update } from '../state/store.js';
import { counted, named, t } from '../words/words.js';

/** The number of pending lengths that are kept for the line. */
const SEEN = 60;
/** @type {import('../state/api.js').Failure | null} */
let failure = null;

/** Reads the pending length and the flushes. They are about all users, so only services may see them. */
export async function refreshFlow() {
  if (state.caller?.user_id !== null) return;
  const [stats, { items: flushes }] = await Promise.all([get('/memory/stats'), get('/page/of/flushes')]);
  update({ stats, flushes, seenPending: [...state.seenPending, stats.pending_queue_length].slice(-SEEN) });
}

async function flush() {
  failure = null;
  update({ flushing: true });
  try {
    const { flushed_count: flushed } = await post('/memory/flush', {});
    update({ announcement: t('flow.done', { n: number(flushed) }) });
  } catch (error) {
    failure = failureOf(error);
  }
  update({ flushing: false });
  await Promise.allSettled([refreshFlow(), refreshConversation()]);
}

export function flowView() {
  const { stats, caller } = state;
  if (!stats || !caller) return nothing;
  const pending = stats.pending_queue_length;
  const age = stats.oldest_pending_age_ms;
  return html`<section class="panel" aria-labelledby="flow-title">
    <h2 id="flow-title" class="panel-title">${t('flow.title')}</h2>
    <div class="pending">
      <p class="pending-count"><strong data-pending>${number(pending)}</strong> ${t('flow.pending')}</p>
      ${sparkline(state.seenPending)}
    </div>
    <p class="hint">${pending > 0 && age !== null ? t('flow.oldest', { age: span(age) }) : t('flow.nothing')}</p>
    ${stats.reasons.map((/** @type {string} */ reason) => html`<p class="warning">${reason}</p>`)}
    ${
      caller.read_only
        ? nothing
        : html`<button type="button" class="button primary" ?disabled=${state.flushing} @click=${flush}>
            ${state.flushing ? t('flow.flushing') : t('flow.flush')}
          </button>`
    }
    ${failure ? failureNotice(failure, flush) : nothing}
    <h3 class="panel-subtitle">${t('flow.history')}</h3>
    ${historyView()}
  </section>`;
}

/** Draws the pending lengths since the page was opened. The last one stands beside the line as a number. @param {number[]} seen */
function sparkline(seen) {
  if (seen.length < 2) return nothing;
  const most = Math.max(1, ...seen);
  const points = seen.map(
    (n, i) => `${((i / (seen.length - 1)) * 100).toFixed(1)},${(22 - (n / most) * 20).toFixed(1)}`,
  );
  return html`<svg class="sparkline" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
    <polyline points=${points.join(' ')} />
  </svg>`;
}

function historyView() {
  const { flushes } = state;
  if (flushes.length === 0) return html`<p class="hint">${t('flow.history.empty')}</p>`;
  return html`<ol class="flushes">
    ${repeat(flushes, ({ id }) => id, flushView)}
  </ol>`;
}

/** @param {import('../state/store.js').FlushRun} run */
function flushView(run) {
  return html`<li class="flush flush-${run.state}">
    <time datetime=${run.started_at}>${clock(run.started_at)}</time>
    <span class="flush-what">
      ${outcome(run)}
      ${run.failed_count > 0 ? html`<span class="warning">${t('flow.quarantined', { n: number(run.failed_count) })}</span>` : nothing}
    </span>
    <span class="hint">
      ${named('reason', run.reason)}${run.duration_ms === null ? nothing : ` · ${span(run.duration_ms)}`}
    </span>
  </li>`;
}

/** @param {import('../state/store.js').FlushRun} run */
function outcome({ state: ended, error, flushed_count: flushed }) {
  if (ended === 'running') return t('flow.running');
  if (ended === 'failed') return t('flow.failed', { error: error ?? '' });
  return flushed === 0 ? t('flow.idle') : counted('flow.committed', flushed);
}
