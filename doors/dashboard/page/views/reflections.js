import { html, nothing } from '/page/lit-html/lit-html.js';
import { repeat } from '/page/lit-html/directives/repeat.js';
import { failureOf, get } from '../state/api.js';
import { moment } from '../words/formats.js';
import { failureNotice } from '../state/notices.js';
import { state, update } from '../state/store.js';
import { named, t } from '../words/words.js';

/** @typedef {import('../state/store.js').Reflection} Reflection @typedef {import('../state/store.js').Verification} Verification */

/** @param {string} contextId */
export async function loadReflections(contextId) {
  const { items: reflections } = await get(`/memory/reflections/${encodeURIComponent(contextId)}`);
  if (contextId === state.contextId) update({ reflections });
}

/** @param {string} cid */
async function verify(cid) {
  setVerification(cid, { loading: true, failure: null });
  try {
    const { ok, checks } = await get(`/memory/verify/${encodeURIComponent(cid)}`);
    setVerification(cid, { loading: false, failure: null, ok, checks });
    update({ announcement: t(ok ? 'reflections.ok' : 'reflections.bad') });
  } catch (error) {
    setVerification(cid, { loading: false, failure: failureOf(error) });
  }
}

/** @param {string} cid @param {Verification} verification */
function setVerification(cid, verification) {
  update({ verifications: new Map(state.verifications).set(cid, verification) });
}

/** @param {string} cid */
async function copy(cid) {
  await navigator.clipboard?.writeText(cid);
  update({ announcement: t('reflections.copied') });
}

export function reflectionsView() {
  if (state.contextId === null) return nothing;
  const { reflections } = state;
  return html`<section class="panel" aria-labelledby="reflections-title">
    <h2 id="reflections-title" class="panel-title">${t('reflections.title')}</h2>
    ${
      reflections.length === 0
        ? html`<p class="hint">${t('reflections.empty')}</p>`
        : html`<ul class="reflections">
            ${repeat(reflections, ({ id }) => id, reflectionView)}
          </ul>`
    }
  </section>`;
}

/** @param {Reflection} reflection */
function reflectionView({ cid, visibility, created_at: createdAt, pinned_at: pinnedAt }) {
  const verification = state.verifications.get(cid);
  const time = moment(createdAt);
  const canVerify = state.caller?.can_verify && pinnedAt !== null;
  return html`<li class="reflection">
    <div class="reflection-head">
      <time datetime=${createdAt}>${time}</time>
      <span class="chip chip-${visibility}">${named('reflections', visibility)}</span>
      ${pinnedAt === null ? html`<span class="hint">${t('reflections.unpinned')}</span>` : nothing}
    </div>
    <code class="cid">${cid}</code>
    <div class="reflection-actions">
      ${
        canVerify
          ? html`<button
              type="button"
              class="button"
              aria-label=${t('reflections.verify.label', { time })}
              ?disabled=${verification?.loading}
              @click=${() => verify(cid)}
            >
              ${verification?.loading ? t('reflections.verifying') : t('reflections.verify')}
            </button>`
          : nothing
      }
      <button type="button" class="button quiet" @click=${() => copy(cid)}>${t('reflections.copy')}</button>
    </div>
    ${verification ? verificationView(cid, verification) : nothing}
  </li>`;
}

/** @param {string} cid @param {Verification} verification */
function verificationView(cid, { failure, ok, checks }) {
  if (failure) return failureNotice(failure, () => verify(cid));
  if (!checks) return nothing;
  return html`<div class="verification ${ok ? 'holds' : 'fails'}">
    <p class="verdict">${t(ok ? 'reflections.ok' : 'reflections.bad')}</p>
    <ul class="checks">
      ${checks.map(
        ({ name, ok: holds, detail }) =>
          html`<li class=${holds ? 'check holds' : 'check fails'} data-check=${name}>
            <span class="check-name">${named('check', name)}</span>
            <span class="hidden">: ${t(holds ? 'check.held' : 'check.failed')}.</span>
            <span class="check-detail">${detail}</span>
          </li>`,
      )}
    </ul>
  </div>`;
}
