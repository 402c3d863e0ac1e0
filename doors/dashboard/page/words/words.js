/**
 * **doors/dashboard/page/words/**: all texts of the page in both languages, and how it writes numbers and times.
 */
import { state } from '../state/store.js';
import { en } from './words-en.js';
import { zhTW } from './words-zh-tw.js';

const DICTIONARIES = { en, 'zh-TW': zhTW };

/** @typedef {keyof typeof en} Word */

/**
 * Gives the text for a word in the chosen language, with each `{name}` replaced by its value.
 * @param {Word} word
 * @param {Record<string, string | number>} [values]
 */
export function t(word, values = {}) {
  return DICTIONARIES[state.language][word].replaceAll(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/** Gives the text for a name that the server sent, or the name itself where there is no text for it. @param {string} group @param {string} name */
export function named(group, name) {
  const word = /** @type {Word} */ (`${group}.${name}`);
  return Object.hasOwn(en, word) ? t(word) : name;
}

/** "one" or "other" of a word that counts. @param {string} word @param {number} n */
export function counted(word, n) {
  const form = new Intl.PluralRules(state.language).select(n) === 'one' ? 'one' : 'other';
  return t(/** @type {Word} */ (`${word}.${form}`), { n: n.toLocaleString(state.language) });
}
