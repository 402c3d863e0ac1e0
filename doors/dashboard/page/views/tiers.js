import { html } from '/page/lit-html/lit-html.js';
import { named, t } from '../words/words.js';

/** The places where a record of each status is. @type {Record<string, string[]>} */
const TIERS = {
  queued: ['queued'],
  cached: ['cached', 'pending'],
  committed: ['committed'],
  pinned: ['committed', 'pinned'],
  quarantined: ['cached', 'quarantined'],
  failed: ['failed'],
};

/** @param {string} status */
export function tiersOf(status) {
  return TIERS[status] ?? [status];
}

/** @param {import('../state/store.js').Status | undefined} status */
export function tierBadges(status) {
  if (!status) return html`<span class="badges"></span>`;
  const { reason } = status;
  return html`<span class="badges" data-status=${status.status}>
    ${tiersOf(status.status).map((tier) => {
      const title = [
        t(/** @type {any} */ (`tier.${tier}.means`)),
        tier === 'quarantined' || tier === 'failed' ? reason : null,
      ];
      return html`<span class="badge tier-${tier}" title=${title.filter(Boolean).join(' · ')}
        >${named('tier', tier)}</span
      >`;
    })}
  </span>`;
}
