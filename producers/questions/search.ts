/**
 * **producers/questions/**: answers that are computed out of many records: what fits some words, how much there was at
 * what time, what to train a model with.
 */
import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import type { SearchAnswer } from '../../shared/long-term/questions.ts';
import { byPosition } from '../../shared/records/position.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { identifier } from '../../shared/identifiers.ts';
import type { Encoding } from '../../shared/records/tokenizer.ts';
import { countTokens, decodeTokens, openTokens } from '../../shared/records/tokens.ts';
import { validate } from '../../shared/validate.ts';
import { type ContextRecord, toContextRecord } from '../reading/context.ts';
import type { Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { inReadTime, scope } from '../reading/reading.ts';
import {
  encodingOf,
  letterOf,
  normalized,
  queryPhrases,
  queryTerms,
  type SearchPhrase,
  type SearchTerm,
  textTerms,
  toTsquery,
} from './search-terms.ts';
import { readUncommitted } from '../reading/uncommitted.ts';

const LIMIT = 10;
const MOST_HITS = 100;
/**
 * Records that Supabase gives for ranking. It knows that they have a term, and not how often. docs/search.md says what
 * a larger number would bring.
 */
const CANDIDATES = 200;
/**
 * The two parameters of BM25 with their usual values: K1 says how soon another occurrence of a word adds nothing, and B
 * how much the length of a record counts.
 */
const K1 = 1.2;
const B = 0.75;

export const searchOptions = scope.extend({
  query: identifier,
  contextId: identifier.optional(),
  limit: z.int().min(1).max(MOST_HITS).optional(),
});
export type SearchOptions = z.input<typeof searchOptions>;

/** A record that has some of the terms of the query. */
export interface SearchHit extends ContextRecord {
  /** The score by BM25. It only says which of two hits of the same search is better. */
  score: number;
}

/**
 * Best first, and of hits with the same score the newest first. Not complete when records were passed over, or when not
 * all uncommitted records were looked through.
 */
export interface SearchResult extends Page<SearchHit> {
  /** How many records were passed over because their tokens are encrypted; counted up to 1000. */
  sealed: number;
  nextCursor: null;
}

interface Statistics {
  meanLength: number;
  /** How rare each term of the query is, which is how much it says about a record. */
  weights: Map<string, number>;
}

/** A record with its text, and how often each of its terms is in it. */
interface Read {
  record: MemoryRecord;
  body: string;
  counts: Map<string, number>;
}

/**
 * The records that have most words of a query, by BM25, the uncommitted ones among them. It needs no model and no
 * embedding, and it finds words also in scripts that put no spaces between them. Throws `invalid_configuration` when
 * tokens are encrypted, and when the database lacks the optional part of the schema for searching.
 */
export async function search(options: SearchOptions, parts: CallParts): Promise<SearchResult> {
  const { query, limit = LIMIT, ...where } = validate(searchOptions, options, 'the options');
  if (parts.config.encryptTokens) {
    const found = 'expected false, for search reads the tokens, found true';
    throw new MnemoqError(
      'invalid_configuration',
      `MEMORY_ENCRYPT_TOKENS: ${found}: there is no search in what is encrypted`,
    );
  }
  return inReadTime(find(query, where, limit, parts), parts);
}

type Where = Pick<z.output<typeof searchOptions>, 'userId' | 'contextId'>;

/** Redis is read first, so a record that is committed in between is seen in one of the two. */
async function find(query: string, where: Where, limit: number, parts: CallParts): Promise<SearchResult> {
  const terms = queryTerms(query);
  const uncommitted = await readUncommitted(where, parts);
  const answer = await askLongTerm(terms, where, limit, parts);
  const committed = new Set(answer.records.map(({ id }) => id));
  const fresh = uncommitted.records.filter(({ id }) => !committed.has(id));
  const [openFresh, sealedFresh] = [fresh.filter(isOpen), fresh.filter((record) => !isOpen(record))];
  const freshReads = openFresh.map(read);
  const statistics = statisticsOf(terms, answer, freshReads);
  const phrases = queryPhrases(query);
  const items = [...freshReads, ...answer.records.filter(isOpen).map(read)]
    .map((each) => ({ record: each.record, score: score(each, statistics) + phraseScore(each, phrases, statistics) }))
    .filter(({ score: points }) => points > 0)
    .toSorted((a, b) => b.score - a.score || byPosition(b.record, a.record))
    .slice(0, limit)
    .map((hit) => ({ ...toContextRecord(hit.record, parts.keyring), score: hit.score }));
  const sealed = answer.sealed + sealedFresh.length;
  return { items, nextCursor: null, complete: uncommitted.isWhole && sealed === 0, sealed };
}

/**
 * Asks Supabase for candidates. It asks a second time when there are records with other encodings than the one in use
 * now.
 */
async function askLongTerm(terms: SearchTerm[], where: Where, limit: number, parts: CallParts): Promise<SearchAnswer> {
  const ask = async (encodings: readonly Encoding[]) =>
    parts.longTerm.questions.search({
      ...where,
      terms: terms.map((term) => toTsquery(term, encodings)),
      letters: encodings.map(letterOf),
      limit: Math.max(limit, CANDIDATES),
    });
  const { encoding } = parts.config;
  const answer = await ask([encoding]);
  const others = answer.letters.map(encodingOf).filter((other) => other !== undefined);
  return others.length === 0 ? answer : ask([encoding, ...others]);
}

function isOpen({ tokens }: MemoryRecord): boolean {
  return !('sealed' in tokens);
}

function read(record: MemoryRecord): Read {
  const text = decodeTokens(openTokens(record.tokens, null, record.id));
  const whole = 'text' in text ? text.text : `${text.user}\n${text.assistant}`;
  return { record, body: normalized(whole), counts: textTerms(whole) };
}

/** The statistics of Supabase, with those of the uncommitted records added. */
function statisticsOf(terms: readonly SearchTerm[], answer: SearchAnswer, fresh: readonly Read[]): Statistics {
  const total = answer.total + fresh.length;
  const freshLength = fresh.reduce((sum, { record }) => sum + countTokens(record.tokens), 0);
  const weights = terms.map(({ text }, i): [string, number] => {
    const having = (answer.frequencies[i] ?? 0) + fresh.filter(({ counts }) => counts.has(text)).length;
    return [text, Math.log(1 + Math.max(0, total - having + 0.5) / (having + 0.5))];
  });
  const meanLength = (answer.meanLength * answer.total + freshLength) / Math.max(1, total);
  return { meanLength: Math.max(1, meanLength), weights: new Map(weights) };
}

function score({ record, counts }: Read, { weights, meanLength }: Statistics): number {
  const saturation = K1 * (1 - B + (B * countTokens(record.tokens)) / meanLength);
  let sum = 0;
  for (const [term, weight] of weights) {
    const count = counts.get(term) ?? 0;
    sum += (weight * count * (K1 + 1)) / (count + saturation);
  }
  return sum;
}

/**
 * The score of phrases: when a text has the words of the query in their order, with nothing between them, they count
 * once more.
 */
function phraseScore({ body }: Read, phrases: readonly SearchPhrase[], { weights }: Statistics): number {
  return phrases
    .filter(({ text }) => body.includes(text))
    .reduce((sum, { terms }) => terms.reduce((part, term) => part + (weights.get(term) ?? 0), sum), 0);
}
