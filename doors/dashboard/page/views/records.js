/**
 * **doors/dashboard/page/views/**: what the page draws, with a file for each part of it.
 */
import { html, nothing } from '/page/lit-html/lit-html.js';
import { repeat } from '/page/lit-html/directives/repeat.js';
import { chartView } from './chart.js';
import { hasEarlier, refreshConversation, showEarlier } from './conversation.js';
import { beginning, moment, number } from '../words/formats.js';
import { emptyNotice, failureNotice, loadingNotice } from '../state/notices.js';
import { state, update } from '../state/store.js';
import { tierBadges } from './tiers.js';
import { closeTokens, openTokens, tokensView } from './tokens.js';
import { counted, named, t } from '../words/words.js';

/** @typedef {import('../state/store.js').MemoryRecord} MemoryRecord */

/** The number of characters of a text that are shown before it is opened. */
const BEGINNING = 600;

export function conversationView() {
  const { contextId, records, queued, loading, failure } = state;
  if (contextId === null) return welcomeView();
  const isEmpty = records.length + queued.length === 0;
  return html`
    <header class="conversation-head">
      <h2 id="conversation" tabindex="-1"><bdi>${contextId}</bdi></h2>
      ${isEmpty ? nothing : html`<p class="sum">${summary()}</p>`}
    </header>
    ${failure ? failureNotice(failure, refreshConversation) : nothing}
    ${isEmpty && loading ? loadingNotice(t('conversation.loading'), 6) : nothing}
    ${isEmpty && !loading && !failure ? emptyNotice(t('conversation.empty'), t('conversation.empty.hint')) : nothing}
    ${isEmpty ? nothing : html`${chartView()}${listView()}`}
  `;
}

function welcomeView() {
  return html`<div class="welcome">
    <img class="welcome-mark" src="/page/icon.svg" alt="" width="72" height="72" />
    <h2 id="conversation" tabindex="-1">${t('welcome.title')}</h2>
    <p>${t('welcome.text')}</p>
    <p class="hint">${t('welcome.keys')}</p>
  </div>`;
}

function summary() {
  const tokens = state.records.reduce((sum, record) => sum + (record.token_count ?? 0), 0);
  const parts = [counted('conversation.records', state.records.length), counted('conversation.tokens', tokens)];
  if (hasEarlier()) parts.unshift(t('conversation.newest', { n: number(state.limit) }));
  return parts.join(' · ');
}

function listView() {
  const all = [...state.records, ...state.queued];
  const current = all.some(({ id }) => id === state.current) ? state.current : all.at(-1)?.id;
  return html`
    ${
      hasEarlier()
        ? html`<button type="button" class="button earlier" ?disabled=${state.loading} @click=${showEarlier}>
            ${t('conversation.earlier')}
          </button>`
        : nothing
    }
    <ol id="records" class="records" aria-label=${t('conversation.list')} @keydown=${onKey}>
      ${repeat(
        all,
        ({ id }) => id,
        (record) => recordView(record, record.id === current),
      )}
    </ol>
  `;
}

/** @param {MemoryRecord} record @param {boolean} isCurrent */
function recordView(record, isCurrent) {
  const { id, module, created_at: createdAt, token_count: tokenCount } = record;
  const isQueued = tokenCount === undefined;
  const status = isQueued ? { id, status: 'queued', reason: null, cid: null } : state.statuses.get(id);
  const opened = state.opened.get(id);
  const time = moment(createdAt);
  return html`<li class="record module-${module} ${opened ? 'opened' : ''}" data-id=${id}>
    <div class="record-head">
      <span class="kind">${named('record', module)}</span>
      <time datetime=${createdAt}>${time}</time>
      ${tierBadges(status)}
      ${
        isQueued
          ? nothing
          : html`<button
              type="button"
              class="peek"
              tabindex=${isCurrent ? 0 : -1}
              aria-expanded=${opened ? 'true' : 'false'}
              aria-controls=${`tokens-${id}`}
              aria-label=${`${number(tokenCount)} ${t('record.show')}: ${t('record.show.label', { time })}`}
              @click=${() => toggle(id)}
              @focus=${() => update({ current: id })}
            >
              <span class="peek-count">${number(tokenCount)}</span> ${t('record.show')}
            </button>`
      }
    </div>
    ${opened ? tokensView(id, opened) : partsOf(record).map(([part, text]) => saidView(part, text))}
  </li>`;
}

/** @param {MemoryRecord} record @returns {[part: string, text: string][]} */
function partsOf({ user_message: user, assistant_message: assistant, text }) {
  if (text !== undefined) return [['text', text]];
  return [
    ['user', user ?? ''],
    ['assistant', assistant ?? ''],
  ];
}

/** @param {string} part @param {string} text */
function saidView(part, text) {
  const isLong = text.length > BEGINNING;
  return html`<div class="said said-${part}">
    <span class="who">${named('part', part)}</span>
    <p class="text" dir="auto">${beginning(text, BEGINNING)}</p>
    ${isLong ? html`<span class="hint">${t('record.more')}</span>` : nothing}
  </div>`;
}

/** @param {string} id */
function toggle(id) {
  update({ current: id });
  if (state.opened.has(id)) closeTokens(id);
  else void openTokens(id);
}

/**
 * The arrow keys go up and down, Home and End go to the first and the last record. Escape closes an open record; when none is open
 * it goes back to the picker.
 * @param {KeyboardEvent} event */
function onKey(event) {
  const list = /** @type {HTMLElement} */ (event.currentTarget);
  const buttons = /** @type {HTMLElement[]} */ ([...list.querySelectorAll('.peek')]);
  const at = buttons.indexOf(/** @type {HTMLElement} */ (event.target));
  if (at === -1) return;
  const targets = /** @type {Record<string, number>} */ ({
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    Home: 0,
    End: buttons.length - 1,
  });
  const target = targets[event.key];
  if (target !== undefined) {
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, target))]?.focus();
  } else if (event.key === 'Escape') {
    const { current } = state;
    if (current !== null && state.opened.has(current)) closeTokens(current);
    else document.getElementById('picker-input')?.focus();
  }
}
