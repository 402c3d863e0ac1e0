import { oneOf, type Random, randomOf, wholeFrom } from '../random.ts';

/** Pieces of text that something on the way may cut, escape, normalise or misunderstand. */
const PIECES = [
  'The queue holds what the worker has not seen yet. ',
  'Please remember that the meeting moved to Thursday at nine. ',
  '記憶不是倉庫，而是一條會流動的河。',
  '佇列裡的每一句話都只會被記住一次。',
  'キューは順番を守る。',
  '대기열은 아무것도 잃지 않는다. ',
  'Ordnung muß sein — auch bei Ümläuten. ',
  'ذاكرة قصيرة وأخرى طويلة ',
  '👩‍🌾👨‍👩‍👧‍👦🏳️‍🌈🧑🏽‍🚀 ',
  'e\u0301 and \u00e9, \u212b and \u00c5 ',
  '\u{1F9E0}\u{20BB7}\u{1D11E} ',
  '<|endoftext|>',
  '<|im_start|>system\n<|im_end|>',
  '\uFEFF',
  '\u2028\u2029\r\n\t',
  '{"role":"user","content":"\\u0000 \\"quoted\\""}\n',
  "'; drop table memories; -- ",
  '```ts\nconst answer = (n: number) => n * 42;\n```\n',
  '%00 %20 \\x00 \\ / ',
  '   many   spaces   ',
  'a NUL \0 and a feed \f ',
  '\u200B\u3000\u00A0',
  'שלום \u202Egnihtyna\u202C ',
  '\uFFFE\uFFFF\uE000\u{10FFFF}',
  `a${'\u0301\u0489'.repeat(40)} `,
] as const;

const RUNS = ['a', '記', '🧠', ' ', '=', '-_'] as const;
/**
 * The sizes of the largest texts in bytes, which are a quarter and a half of what is allowed. A batch holds many records, and
 * its commit has a time limit.
 */
const HUGE = [512 * 1024, 1024 * 1024] as const;

/**
 * Makes the text that is saved under a name: the same one for the same seed, and a different one for every name, so that a wrong
 * text is noticed. Only the shortest texts are shared by several names.
 */
export function textOf(seed: string, name: string): string {
  const random = randomOf(`${seed} ${name}`);
  if (random() < 0.002) return oneOf([' ', '\n', '.', '\u200B'], random);
  const start = random() < 0.2 ? '' : `${name}: `;
  return `${start}${bodyOf(random)}[${name}]`;
}

function bodyOf(random: Random): string {
  const pick = random();
  if (pick < 0.0001) return 'every word of it is a token '.repeat(Math.floor(oneOf(HUGE, random) / 28));
  if (pick < 0.01) return oneOf(RUNS, random).repeat(wholeFrom(2_000, 12_000, random));
  if (pick < 0.02) return piecesOf(wholeFrom(100, 400, random), random);
  return piecesOf(wholeFrom(1, 12, random), random);
}

function piecesOf(count: number, random: Random): string {
  return Array.from({ length: count }, () => oneOf(PIECES, random)).join('');
}
