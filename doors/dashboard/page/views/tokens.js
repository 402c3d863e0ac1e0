import { html, nothing } from '/page/lit-html/lit-html.js';
import { failureOf, get } from '../state/api.js';
import { number } from '../words/formats.js';
import { failureNotice, loadingNotice } from '../state/notices.js';
import { state, update } from '../state/store.js';
import { named, t } from '../words/words.js';

/** @typedef {import('../state/store.js').Tokens} Tokens @typedef {import('../state/store.js').Part} Part */

/** The number of colours, which alternate so that neighbours have different ones. */
const HUES = 5;

/** @param {string} id */
export async function openTokens(id) {
  const start = { encoding: '', parts: [], loading: true, failure: null };
  set(id, start);
  try {
    const { encoding, parts } = await get(`/page/of/pieces/${id}`);
    if (state.opened.has(id)) set(id, { encoding, parts, loading: false, failure: null });
  } catch (error) {
    if (state.opened.has(id)) set(id, { ...start, loading: false, failure: failureOf(error) });
  }
}

/** @param {string} id */
export function closeTokens(id) {
  const opened = new Map(state.opened);
  opened.delete(id);
  update({ opened });
}

/** @param {string} id @param {Tokens} tokens */
function set(id, tokens) {
  update({ opened: new Map(state.opened).set(id, tokens) });
}

/** @param {string} id @param {Part} part */
async function showMore(id, { name, next }) {
  const tokens = state.opened.get(id);
  if (!tokens || next === null) return;
  try {
    const answer = await get(`/page/of/pieces/${id}`, { part: name, from: next });
    const [rest] = answer.parts;
    const parts = tokens.parts.map((each) =>
      each.name === name ? { ...each, pieces: [...each.pieces, ...rest.pieces], next: rest.next } : each,
    );
    set(id, { ...tokens, parts });
  } catch (error) {
    set(id, { ...tokens, failure: failureOf(error) });
  }
}

/** @param {string} id @param {Tokens} tokens */
export function tokensView(id, { encoding, parts, loading, failure }) {
  return html`<div class="tokens" id=${`tokens-${id}`}>
    ${failure ? failureNotice(failure, () => openTokens(id)) : nothing}
    ${loading ? loadingNotice(t('tokens.loading'), 3) : nothing} ${parts.map((part) => partView(id, part, encoding))}
  </div>`;
}

/** @param {string} id @param {Part} part @param {string} encoding */
function partView(id, part, encoding) {
  const name = named('part', part.name);
  const text = part.pieces.map((piece) => piece.text).join('');
  return html`<section class="part said-${part.name}" aria-label=${name}>
    <h3 class="part-head">
      <span class="who">${name}</span> <span class="hint">${number(part.token_count)} · ${encoding}</span>
    </h3>
    <div class="part-body">
      <p class="text decoded" dir="auto" aria-label=${t('tokens.decoded')}>${text}</p>
      <div class="pieces" role="group" aria-label=${t('tokens.pieces')} tabindex="0">
        ${part.pieces.map((piece, index) => pieceView(piece, index))}
      </div>
    </div>
    ${
      part.next === null
        ? nothing
        : html`<button type="button" class="button" @click=${() => showMore(id, part)}>${t('tokens.more')}</button>`
    }
  </section>`;
}

/** @param {import('../state/store.js').Piece} piece @param {number} index */
function pieceView({ ids, text }, index) {
  const isGrouped = ids.length > 1;
  return html`<span
    class="piece hue-${index % HUES} ${isGrouped ? 'grouped' : ''}"
    title=${isGrouped ? t('tokens.grouped', { n: ids.length }) : nothing}
    ><span class="glyph">${glyphs(text)}</span><span class="ids">${ids.join(' ')}</span></span
  >`;
}

/** A line break gets a visible sign from the style sheet and stays a line break in the text. @param {string} text */
function glyphs(text) {
  return text.split(/(\n)/).map((part) => (part === '\n' ? html`<span class="break">${part}</span>` : part));
}
