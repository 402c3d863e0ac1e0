import { html, nothing } from '/page/lit-html/lit-html.js';
import { live } from '/page/lit-html/directives/live.js';
import { repeat } from '/page/lit-html/directives/repeat.js';
import { failureOf, get } from '../state/api.js';
import { chooseConversation, focusConversation } from './conversation.js';
import { moment } from '../words/formats.js';
import { emptyNotice, failureNotice, loadingNotice } from '../state/notices.js';
import { state, update } from '../state/store.js';
import { t } from '../words/words.js';

/** The number of conversations in the list. */
const LISTED = 40;
/** The page waits this long, in ms, for further typing. */
const PAUSE_MS = 150;

let typing = 0;
/** Answers may arrive in another order than their questions were sent, so only the answer to the last question counts. */
let question = 0;

export async function loadConversations() {
  question += 1;
  const mine = question;
  const { prefix } = state.picker;
  try {
    const answer = await get('/memory/conversations', { prefix: prefix || undefined, limit: LISTED });
    if (mine !== question) return;
    const isAll = prefix === '' && answer.next_cursor === null;
    const items = isAll ? newestFirst(answer.items) : answer.items;
    const active = Math.min(state.picker.active, items.length - 1);
    set({ items, active, more: answer.next_cursor !== null, loading: false, failure: null });
  } catch (error) {
    if (mine === question) set({ loading: false, failure: failureOf(error) });
  }
}

/** A conversation without a date is new, because none of its records is committed yet. @param {import('../state/store.js').Conversation[]} conversations */
function newestFirst(conversations) {
  return conversations.toSorted((a, b) => (b.last_created_at ?? '9999').localeCompare(a.last_created_at ?? '9999'));
}

/** @param {Partial<typeof state.picker>} change */
function set(change) {
  update({ picker: { ...state.picker, ...change } });
}

/** @param {string} prefix */
function type(prefix) {
  set({ prefix, active: -1, loading: true });
  clearTimeout(typing);
  typing = setTimeout(loadConversations, PAUSE_MS);
}

/** @param {string} contextId */
function pick(contextId) {
  chooseConversation(contextId);
  focusConversation();
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const { items, active, prefix } = state.picker;
  if (event.isComposing) return; // while an input method is open, Enter and the arrow keys belong to it
  const moves = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 });
  const step = moves[event.key];
  if (step !== undefined && items.length > 0) {
    event.preventDefault();
    const from = active === -1 && step < 0 ? items.length : active;
    set({ active: Math.max(0, Math.min(items.length - 1, from + step)) });
    requestAnimationFrame(() => document.querySelector('.option.active')?.scrollIntoView({ block: 'nearest' }));
  } else if (event.key === 'Enter') {
    event.preventDefault();
    const chosen = items[active] ?? items[0];
    if (chosen) pick(chosen.context_id);
  } else if (event.key === 'Escape') {
    event.preventDefault();
    if (prefix !== '') type('');
    else if (state.contextId !== null) focusConversation();
  }
}

export function pickerView() {
  const { prefix, items, active } = state.picker;
  return html`<div class=${state.contextId === null ? 'picker' : 'picker chosen'}>
    <h2 class="panel-title"><label for="picker-input">${t('picker.title')}</label></h2>
    <input
      id="picker-input"
      class="field"
      type="search"
      role="combobox"
      autocomplete="off"
      spellcheck="false"
      aria-label=${t('picker.label')}
      aria-expanded="true"
      aria-controls="picker-list"
      aria-autocomplete="list"
      aria-activedescendant=${items[active] ? `option-${active}` : ''}
      placeholder=${t('picker.placeholder')}
      .value=${live(prefix)}
      @input=${(/** @type {InputEvent} */ event) => type(/** @type {HTMLInputElement} */ (event.target).value)}
      @keydown=${onKey}
    />
    <div class="picker-body">
      <ul id="picker-list" class="options" role="listbox" aria-label=${t('picker.title')}>
        ${repeat(
          items,
          ({ context_id: contextId }) => contextId,
          (conversation, index) => optionView(conversation, index),
        )}
      </ul>
      ${belowList()}
    </div>
  </div>`;
}

/** @param {import('../state/store.js').Conversation} conversation @param {number} index */
function optionView(conversation, index) {
  const { context_id: contextId, last_created_at: lastCreatedAt } = conversation;
  const classes = [
    'option',
    index === state.picker.active ? 'active' : '',
    contextId === state.contextId ? 'current' : '',
  ];
  return html`<li
    id=${`option-${index}`}
    class=${classes.join(' ').trim()}
    role="option"
    aria-selected=${contextId === state.contextId ? 'true' : 'false'}
    @click=${() => pick(contextId)}
  >
    <bdi class="option-name">${contextId}</bdi>
    ${lastCreatedAt === null ? nothing : html`<span class="option-more">${moment(lastCreatedAt)}</span>`}
  </li>`;
}

function belowList() {
  const { items, loading, more, failure, prefix } = state.picker;
  if (failure) return failureNotice(failure, loadConversations);
  if (items.length > 0) return more ? html`<p class="hint">${t('picker.more')}</p>` : nothing;
  if (loading) return loadingNotice(t('picker.loading'), 4);
  if (prefix !== '') return emptyNotice(t('picker.none'), t('picker.none.hint'));
  return emptyNotice(t('picker.empty'), t('picker.empty.hint'));
}
