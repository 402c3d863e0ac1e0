import { encode, type Encoding, vocabulary } from '../../shared/records/tokenizer.ts';

/** What a query asks for: a word, or two neighbouring characters of a script that puts no spaces between words. */
export interface SearchTerm {
  /** The term in the form in which `textTerms` counts it. */
  text: string;
  /** The forms in which somebody may have written the term. */
  spellings: readonly string[];
}

/** Terms of a query that count. A query with more of them is a text and not a question. */
const MOST_TERMS = 32;

/** Scripts that put no spaces between words, and Hangul, whose words carry their particles with them. */
const UNSPACED =
  '[[\\p{scx=Han}\\p{scx=Hira}\\p{scx=Kana}\\p{scx=Hang}\\p{scx=Thai}\\p{scx=Laoo}\\p{scx=Khmr}\\p{scx=Mymr}]&&[\\p{L}\\p{M}]]';
const SPACED = `[[\\p{L}\\p{M}\\p{N}]--${UNSPACED}]`;
const RUNS = new RegExp(`(?<characters>${UNSPACED}+)|${SPACED}+`, 'gv');
const IS_UNSPACED = new RegExp(UNSPACED, 'v');

/** The letter that `mnemoq_search_terms` in the database puts before the ids of an encoding. */
const LETTERS: Record<Encoding, string> = {
  cl100k_base: 'c',
  o200k_base: 'o',
  p50k_base: 'p',
  p50k_edit: 'e',
  r50k_base: 'r',
  gpt2: 'g',
};

export function letterOf(encoding: Encoding): string {
  return LETTERS[encoding];
}

export function encodingOf(letter: string): Encoding | undefined {
  return (Object.keys(LETTERS) as Encoding[]).find((encoding) => LETTERS[encoding] === letter);
}

/** The first 32 terms of a query, each once, in their order. */
export function queryTerms(query: string): SearchTerm[] {
  const terms = new Map<string, SearchTerm>();
  for (const { text, written } of runs(query)) {
    const known = terms.get(text);
    terms.set(text, { text, spellings: [...new Set([...(known?.spellings ?? []), ...spellingsOf(written)])] });
  }
  return [...terms.values()].slice(0, MOST_TERMS);
}

/** Terms that stand together in a query: words with only a space between them, or a run of characters. */
export interface SearchPhrase {
  /** The phrase in the form that `normalized` gives. */
  text: string;
  terms: readonly string[];
}

const PHRASES = new RegExp(`${UNSPACED}+|${SPACED}+(?:\\s+${SPACED}+)*`, 'gv');

/** The phrases of a query that have more than one term. */
export function queryPhrases(query: string): SearchPhrase[] {
  return [...query.matchAll(PHRASES)]
    .map(([phrase]) => ({ text: normalized(phrase), terms: queryTerms(phrase).map(({ text }) => text) }))
    .filter(({ terms }) => terms.length > 1);
}

/** How often each term is in a text. */
export function textTerms(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { text: term } of runs(text, 'and singles')) counts.set(term, (counts.get(term) ?? 0) + 1);
  return counts;
}

interface Run {
  text: string;
  written: string;
}

/**
 * The words of a text. Of a run of characters it gives every two neighbours, and of a run of one that character. With
 * `singles` it gives every single character of a run as well.
 */
function* runs(text: string, singles?: 'and singles'): Generator<Run> {
  for (const { 0: run, groups } of text.matchAll(RUNS)) {
    if (groups?.['characters'] === undefined) {
      yield { text: normalized(run), written: run };
      continue;
    }
    const characters = Array.from(run);
    for (const [i, character] of characters.entries()) {
      const next = characters[i + 1];
      if (next !== undefined) yield { text: normalized(character + next), written: character + next };
      if (singles || characters.length === 1) {
        yield { text: normalized(character), written: character };
      }
    }
  }
}

/** The same text for every way to type it: letter case, character width, line ends. */
export function normalized(text: string): string {
  return text.normalize('NFKC').toLowerCase().replaceAll(/\s+/g, ' ');
}

function spellingsOf(written: string): string[] {
  const lower = written.toLowerCase();
  const [first = '', ...rest] = Array.from(lower);
  return [written, lower, first.toUpperCase() + rest.join(''), written.toUpperCase()];
}

/** A term as a tsquery over the lexemes of `mnemoq_search_terms`, in each of the encodings. */
export function toTsquery({ spellings }: SearchTerm, encodings: readonly Encoding[]): string {
  const ways = encodings.flatMap((encoding) =>
    spellings.map((spelling) =>
      IS_UNSPACED.test(spelling) ? everyCharacter(spelling, encoding) : eitherWord(spelling, encoding),
    ),
  );
  return [...new Set(ways)].join(' | ');
}

/** A word at the beginning of a text has other tokens than the same word after a space. */
function eitherWord(word: string, encoding: Encoding): string {
  return [word, ` ${word}`].map((text) => all(encode(text, encoding), encoding)).join(' | ');
}

/**
 * A query for every character, either as its own tokens or within a token of several characters. The tokens of a run of
 * characters depend on what stands around it. Of the pairs of characters in the questions of CrossWOZ, cl100k_base has
 * 90 % as the tokens of the pair alone and o200k_base 60 %; character by character every pair is found.
 */
function everyCharacter(text: string, encoding: Encoding): string {
  const characters = Array.from(text).map((character) => {
    const within = (charactersOf(encoding).get(character) ?? []).map((id) => lexeme(id, encoding));
    return `(${[all(encode(character, encoding), encoding), ...within].join(' | ')})`;
  });
  return `(${characters.join(' & ')})`;
}

function all(ids: readonly number[], encoding: Encoding): string {
  return `(${[...new Set(ids)].map((id) => lexeme(id, encoding)).join(' & ')})`;
}

function lexeme(id: number, encoding: Encoding): string {
  return `${LETTERS[encoding]}${id}`;
}

const characters = new Map<Encoding, Map<string, number[]>>(); // computed once for each encoding in a process

/** Which tokens contain each character of the scripts without spaces. */
function charactersOf(encoding: Encoding): Map<string, number[]> {
  let known = characters.get(encoding);
  if (!known) {
    known = new Map();
    const decoder = new TextDecoder();
    for (const [id, bytes] of vocabulary(encoding)) {
      if (bytes.length < 3) continue; // every character of these scripts has three bytes or more
      for (const character of new Set(decoder.decode(bytes))) {
        if (!IS_UNSPACED.test(character)) continue;
        known.set(character, [...(known.get(character) ?? []), id]);
      }
    }
    characters.set(encoding, known);
  }
  return known;
}
