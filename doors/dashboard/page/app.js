/**
 * **doors/dashboard/page/**: the memory page. The browser runs these files as they are, without a build step.
 */
import { html, nothing, render } from '/page/lit-html/lit-html.js';
import { get } from './state/api.js';
import { drawChart } from './views/chart.js';
import { followAddress } from './views/conversation.js';
import { flowView } from './views/flow.js';
import { refresh, stayCurrent } from './state/live.js';
import { pickerView } from './views/picker.js';
import { chooseLanguage, chooseTheme, showTheme, theme } from './state/preferences.js';
import { conversationView } from './views/records.js';
import { reflectionsView } from './views/reflections.js';
import { onChange, state, update } from './state/store.js';
import { t } from './words/words.js';

const app = /** @type {HTMLElement} */ (document.getElementById('app'));

function appView() {
  return html`
    <a class="skip" href="#conversation" @click=${skip}>${t('page.skip')}</a>
    <header class="top">
      <h1 class="mark">
        <img src="/page/icon.svg" alt="" width="28" height="28" />Mnemoq <span>${t('page.title')}</span>
      </h1>
      <p class="connection connection-${state.connection}" role="status">
        <span class="dot" aria-hidden="true"></span>${t(`live.${state.connection}`)}
      </p>
      <nav class="top-actions">
        ${callerView()}
        <button type="button" class="button quiet" aria-label=${t('page.language.label')} @click=${switchLanguage}>
          ${t('page.language')}
        </button>
        <button type="button" class="button quiet" aria-label=${themeLabel()} @click=${switchTheme}>
          ${t(otherTheme() === 'dark' ? 'page.theme.dark' : 'page.theme.light')}
        </button>
      </nav>
    </header>
    <div class="layout">
      <aside class="column-picker" aria-label=${t('picker.title')}>${pickerView()}</aside>
      <main class="column-main">${conversationView()}</main>
      <aside class="column-panels" aria-label=${`${t('flow.title')}, ${t('reflections.title')}`}>
        ${flowView()}${reflectionsView()}
      </aside>
    </div>
    <div class="hidden" aria-live="polite" data-announcement>${state.announcement}</div>
  `;
}

function callerView() {
  const { caller } = state;
  if (!caller) return nothing;
  return html`
    <span class="caller" title=${t('page.signed', { name: caller.name })}>
      <bdi>${caller.user_id ?? caller.name}</bdi>${caller.read_only ? html` · ${t('page.readonly')}` : nothing}
    </span>
    ${caller.user_id === null ? html`<a class="button quiet" href="/queues/">${t('page.queues')}</a>` : nothing}
  `;
}

/** A plain link would change the address, and the address names the conversation. @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById('conversation')?.focus();
}

function switchLanguage() {
  const language = state.language === 'en' ? 'zh-TW' : 'en';
  chooseLanguage(language);
  update({ language });
}

function switchTheme() {
  const chosen = otherTheme();
  chooseTheme(chosen);
  update({ theme: chosen });
}

function followSystem() {
  showTheme(theme());
  update({ theme: theme() });
}

function otherTheme() {
  return state.theme === 'dark' ? 'light' : 'dark';
}

function themeLabel() {
  return t('page.theme.label', { theme: t(otherTheme() === 'dark' ? 'page.theme.dark' : 'page.theme.light') });
}

onChange(() => {
  render(appView(), app);
  drawChart();
});
document.documentElement.lang = state.language;
addEventListener('hashchange', followAddress);
addEventListener('resize', () => update());
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', followSystem);
update();
followAddress();
get('/page/of/caller')
  .then((caller) => update({ caller }))
  .catch(() => undefined)
  .finally(() => {
    void refresh();
    stayCurrent();
  });
