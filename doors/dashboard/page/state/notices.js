import { html, nothing } from '/page/lit-html/lit-html.js';
import { t } from '../words/words.js';

/** @typedef {import('../words/words.js').Word} Word */

/** @type {[test: (status: number) => boolean, word: Word, hint: Word | null][]} */
const FAILURES = [
  [(status) => status === 0, 'failure.offline', 'failure.offline.hint'],
  [(status) => status === 401 || status === 403, 'failure.forbidden', 'failure.forbidden.hint'],
  [(status) => status === 404, 'failure.missing', 'failure.missing.hint'],
  [(status) => status === 429, 'failure.busy', 'failure.busy.hint'],
  [(status) => status === 503 || status === 504, 'failure.away', 'failure.away.hint'],
  [() => true, 'failure.other', null],
];

/** Shows what went wrong and what to do next. @param {import('./api.js').Failure} failure @param {(() => unknown) | null} again */
export function failureNotice({ status, title }, again) {
  const [, word, hint] =
    FAILURES.find(([test]) => test(status)) ?? /** @type {const} */ ([null, 'failure.other', null]);
  return html`<div class="notice notice-failure" role="alert">
    <p class="notice-title">${t(word)}</p>
    <p>${hint === null ? title : t(hint)}</p>
    ${again ? html`<button type="button" class="button" @click=${again}>${t('failure.again')}</button>` : nothing}
  </div>`;
}

/** Shows that nothing is there, and what to do next. @param {string} title @param {string} [hint] */
export function emptyNotice(title, hint) {
  return html`<div class="notice">
    <p class="notice-title">${title}</p>
    ${hint === undefined ? nothing : html`<p>${hint}</p>`}
  </div>`;
}

/** Shows lines in the place where text will be. @param {string} label @param {number} lines */
export function loadingNotice(label, lines) {
  return html`<div class="loading" role="status">
    <span class="hidden">${label}</span>
    ${Array.from({ length: lines }, () => html`<span class="loading-line"></span>`)}
  </div>`;
}
