import { mulberry32 } from '../turns.ts';

const SEED = 20_251_124;
/** A query that fits more turns than this is not a question that has an answer. */
const MOST_RELEVANT = 10;

/**
 * The kinds of queries, which stand for what somebody remembers of a turn: a piece between two commas, a few characters or words,
 * and two such pieces.
 */
export const KINDS = ['piece', 'fragment', 'two fragments'] as const;

export type Kind = (typeof KINDS)[number];

export interface BenchText {
  id: string;
  userMessage: string;
  assistantMessage: string;
  text: string;
}

interface Question {
  kind: Kind;
  query: string;
  relevant: ReadonlySet<string>;
}

/** Makes the same questions in every run: `count` of each kind, or as many as the turns give. */
export function questionsFrom(texts: readonly BenchText[], count: number): Question[] {
  const random = mulberry32(SEED);
  const bodies = texts.map(({ id, text }) => ({ id, body: text.toLowerCase() }));
  const makers: Record<Kind, (text: BenchText) => string[]> = {
    piece: ({ assistantMessage }) => pick(piecesOf(assistantMessage), 1, random),
    fragment: ({ userMessage }) => fragments(userMessage, 1, random),
    'two fragments': ({ text }) => fragments(text, 2, random),
  };
  return KINDS.flatMap((kind) => {
    const questions = new Map<string, Question>();
    for (let tries = 0; questions.size < count && tries < 20 * count; tries += 1) {
      const text = texts[Math.floor(random() * texts.length)];
      const parts = text ? makers[kind](text) : [];
      if (parts.length < (kind === 'two fragments' ? 2 : 1)) continue;
      const relevant = bodies.filter(({ body }) => parts.every((part) => body.includes(part.toLowerCase())));
      if (relevant.length === 0 || relevant.length > MOST_RELEVANT) continue;
      const query = parts.join(' ');
      questions.set(query, { kind, query, relevant: new Set(relevant.map(({ id }) => id)) });
    }
    return [...questions.values()];
  });
}

function piecesOf(text: string): string[] {
  return text.split(/[\p{P}\p{S}\n]+/u).flatMap((piece) => {
    const trimmed = piece.trim();
    const size = isSpaced(trimmed) ? trimmed.split(/\s+/).length : trimmed.length;
    return size >= 3 && size <= 8 ? [trimmed] : [];
  });
}

/** Gives three words, or four characters where the text has no spaces. */
function fragments(text: string, count: number, random: () => number): string[] {
  const runs = text.split(/[\p{P}\p{S}\n]+/u).flatMap((run) => {
    const trimmed = run.trim();
    if (!isSpaced(trimmed)) {
      const start = Math.floor(random() * Math.max(1, trimmed.length - 3));
      return trimmed.length >= 4 ? [trimmed.slice(start, start + 4)] : [];
    }
    const words = trimmed.split(/\s+/);
    const start = Math.floor(random() * Math.max(1, words.length - 2));
    return words.length >= 3 ? [words.slice(start, start + 3).join(' ')] : [];
  });
  return pick(runs, count, random);
}

function pick(from: readonly string[], count: number, random: () => number): string[] {
  return from
    .map((each) => ({ each, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .slice(0, count)
    .map(({ each }) => each);
}

function isSpaced(text: string): boolean {
  return !/\p{Script=Han}/u.test(text);
}
