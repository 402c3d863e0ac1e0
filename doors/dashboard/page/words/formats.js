import { state } from '../state/store.js';

/** Writes a moment as it is usual in the chosen language, in the time zone of this browser. @param {string} iso */
export function moment(iso) {
  return new Intl.DateTimeFormat(state.language, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(iso));
}

/** @param {string} iso */
export function clock(iso) {
  return new Intl.DateTimeFormat(state.language, { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(
    new Date(iso),
  );
}

/** @param {number} n */
export function number(n) {
  return n.toLocaleString(state.language);
}

const UNITS = /** @type {const} */ ([
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
  ['millisecond', 1],
]);

/** Writes a length of time in its largest unit, such as "3 min". @param {number} ms */
export function span(ms) {
  const [unit, length] = UNITS.find(([, each]) => ms >= each) ?? UNITS[4];
  const style = /** @type {const} */ ({ style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits: 1 });
  const value = ms / length;
  return new Intl.NumberFormat(state.language, style).format(value >= 10 ? Math.round(value) : value);
}

/** Gives the beginning of a text without cutting a character in half. @param {string} text @param {number} length */
export function beginning(text, length) {
  if (text.length <= length) return text;
  return `${text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
