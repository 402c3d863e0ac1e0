import { html, nothing } from '/page/lit-html/lit-html.js';
import uPlot from '/page/uplot/uPlot.esm.js';
import { moment, number } from '../words/formats.js';
import { state } from '../state/store.js';
import { t } from '../words/words.js';

const HEIGHT = 168;

/** @type {uPlot | null} */
let plot = null;
/** The data that was drawn last. The chart is drawn again only when something in it changes. */
let drawn = '';

export function chartView() {
  const { buckets } = state;
  const [first] = buckets;
  const last = buckets.at(-1);
  if (!first || !last) return nothing;
  const sum = (/** @type {'turns' | 'tokens'} */ name) => buckets.reduce((total, bucket) => total + bucket[name], 0);
  const label = t('chart.label', {
    turns: number(sum('turns')),
    tokens: number(sum('tokens')),
    from: moment(first.start),
    to: moment(last.start),
  });
  return html`<figure class="chart">
    <figcaption class="chart-head">
      <span class="panel-title">${t('chart.title')}</span>
      <span class="key key-turns">${t('chart.turns')}</span>
      <span class="key key-tokens">${t('chart.tokens')}</span>
    </figcaption>
    <div id="chart" role="img" aria-label=${label}></div>
    <details class="chart-table">
      <summary>${t('chart.table')}</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">${t('chart.time')}</th>
            <th scope="col">${t('chart.turns')}</th>
            <th scope="col">${t('chart.tokens')}</th>
            <th scope="col">${t('chart.reflections')}</th>
          </tr>
        </thead>
        <tbody>
          ${buckets.map(
            ({ start, turns, tokens, reflections }) =>
              html`<tr>
                <th scope="row">${moment(start)}</th>
                <td>${number(turns)}</td>
                <td>${number(tokens)}</td>
                <td>${number(reflections)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </details>
  </figure>`;
}

/** Draws the chart after the page was drawn, because lit-html cannot draw on a canvas. */
export function drawChart() {
  const place = document.getElementById('chart');
  if (!place || state.buckets.length === 0) return forget();
  const key = JSON.stringify([state.buckets, state.theme, state.language, place.clientWidth]);
  if (plot?.root.parentElement === place && key === drawn) return;
  forget();
  drawn = key;
  plot = new uPlot(optionsFor(place), dataOf(state.buckets), place);
}

function forget() {
  plot?.destroy();
  plot = null;
}

/** @param {import('../state/store.js').Bucket[]} buckets @returns {uPlot.AlignedData} */
function dataOf(buckets) {
  return [
    buckets.map(({ start }) => Date.parse(start) / 1000),
    buckets.map(({ turns }) => turns),
    buckets.map(({ tokens }) => tokens),
  ];
}

/** @param {HTMLElement} place @returns {uPlot.Options} */
function optionsFor(place) {
  const colour = (/** @type {string} */ name) => getComputedStyle(place).getPropertyValue(`--${name}`).trim();
  const font = `12px ${getComputedStyle(place).fontFamily}`;
  const quiet = { stroke: colour('ink-soft'), font, ticks: { show: false } };
  const grid = { stroke: colour('line'), width: 1 };
  return {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: true, range: withMargin }, turns: { range: fromZero }, tokens: { range: fromZero } },
    axes: [
      { ...quiet, size: 32, grid: { show: false }, values: (_, ticks) => ticks.map(tick) },
      { ...quiet, scale: 'turns', grid, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000] },
      { ...quiet, scale: 'tokens', side: 1, grid: { show: false }, size: 56 },
    ],
    series: [
      {},
      {
        scale: 'turns',
        stroke: colour('chart-turns'),
        fill: colour('chart-turns-fill'),
        paths: uPlot.paths.bars?.({ size: [0.6, 26, 6], radius: 0.25 }),
        points: { show: false },
      },
      {
        scale: 'tokens',
        stroke: colour('chart-tokens'),
        width: 2,
        points: { show: true, size: 6, fill: colour('chart-tokens') },
      },
    ],
  };
}

/** Gives a range in which the first and the last bar are not cut. @param {uPlot} _plot @param {number} least @param {number} most @returns {[number, number]} */
function withMargin(_plot, least, most) {
  const margin = Math.max(3_600, (most - least) * 0.03);
  return [least - margin, most + margin];
}

/** @param {uPlot} _plot @param {number | null} _least @param {number | null} most @returns {[number, number]} */
function fromZero(_plot, _least, most) {
  return [0, Math.max(1, most ?? 1) * 1.1];
}

/** @param {number} seconds */
function tick(seconds) {
  return new Intl.DateTimeFormat(state.language, { month: 'short', day: 'numeric' }).format(new Date(seconds * 1000));
}
