/** The theme and the language that a person chose in this browser. Without a choice they follow the system and the browser. */

/** @typedef {'en' | 'zh-TW'} Language */
/** @typedef {'light' | 'dark'} Theme */

/** @returns {Language} */
export function language() {
  const chosen = read('language');
  if (chosen === 'en' || chosen === 'zh-TW') return chosen;
  const first = navigator.languages.find((each) => /^(en|zh)\b/i.test(each)) ?? 'en';
  return /^zh/i.test(first) ? 'zh-TW' : 'en';
}

/** @param {Language} chosen */
export function chooseLanguage(chosen) {
  write('language', chosen);
  document.documentElement.lang = chosen;
}

/** @returns {Theme} */
export function theme() {
  const chosen = read('theme');
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

/** @param {Theme} chosen */
export function chooseTheme(chosen) {
  write('theme', chosen);
  showTheme(chosen);
}

/** Sets the attribute on which the style sheets depend. `first-paint.js` sets it first. @param {Theme} shown */
export function showTheme(shown) {
  document.documentElement.dataset['theme'] = shown;
}

/** @param {string} name */
function read(name) {
  try {
    return localStorage.getItem(`mnemoq.${name}`);
  } catch {
    return null; // a browser may forbid the storage
  }
}

/** @param {string} name @param {string} value */
function write(name, value) {
  try {
    localStorage.setItem(`mnemoq.${name}`, value);
  } catch {
    // the choice then holds until the page is closed
  }
}
