/**
 * **bench/reading/**: what reads cost: searches, trends and long conversations.
 */
import { v7 as uuidv7 } from 'uuid';
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import path from 'node:path';
import { readLines } from '../../cli/terminal/lines.ts';
import { say } from '../../cli/terminal/output.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { startPostgrest } from '../../test/support/services/postgrest.ts';
import type { ResultTable } from '../report.ts';
import type { Stage } from '../stage.ts';
import { median, quantile, rounded, timed } from '../statistics.ts';
import { KINDS, type Kind, type BenchText, questionsFrom } from './search-questions.ts';
import { store, byFullText, byFunction, usesIndex } from './search-database.ts';

const SAMPLE = path.join(import.meta.dirname, '../../cli/sample/turns.jsonl');
const QUERIES = 100;
const RECALLED = 10;
const LINE_BYTES = 8 * 1024 * 1024;

/**
 * The ways to search: Mnemoq's, and beside it those that PostgreSQL offers over the plain text. These are full text search with
 * and without English stems, for all or for some of the words, and the word similarity of pg_trgm. The latter has no index here,
 * so it scans the whole table: the benchmark asks what it finds.
 */
const WAYS = ['mnemoq', 'simple, all words', 'simple, any word', 'english, any word', 'pg_trgm'] as const;

type Way = (typeof WAYS)[number];

interface Finding {
  kind: Kind;
  queries: number;
  recall: Record<Way, number>;
}

export interface SearchResult {
  turns: number;
  findings: Finding[];
  medianMs: Record<Way, number>;
  p95Ms: Record<Way, number>;
  /** Whether the plan of a query uses the index. With a few hundred rows it may not need it. */
  indexUsed: boolean;
}

/**
 * Measures how many known items are found, on PostgreSQL behind PostgREST. The questions are made from the turns, and the right
 * answers are all turns that contain the words of the question as plain text. `file` contains turns as `mnemoq import` takes them.
 * Without it the turns of the demo are used.
 */
export async function measureSearch(stage: Stage, scale: number, file = SAMPLE): Promise<SearchResult> {
  const texts = await readTexts(file);
  const database = await startPostgrest();
  stage.onRelease(() => database.stop());
  const place = { name: 'postgrest', url: database.url, key: database.serviceKey } as const;
  const memory = stage.memory(stage.newEnvironment(place as never));
  say(`search: storing ${texts.length} turns`);
  await store(texts, database);
  await database.reloadSchema();
  const ask: Record<Way, (query: string) => Promise<string[]>> = {
    mnemoq: (query) => byMnemoq(memory, query),
    'simple, all words': (query) => byFullText(database, query, 'simple', ' & '),
    'simple, any word': (query) => byFullText(database, query, 'simple', ' | '),
    'english, any word': (query) => byFullText(database, query, 'english', ' | '),
    pg_trgm: async (query) => byFunction(database, 'bench_similar', { query }),
  };
  const questions = questionsFrom(texts, Math.ceil(QUERIES * scale));
  say(`search: ${questions.length} queries`);
  const recall = new Map(questions.map((question) => [question, {} as Record<Way, number>]));
  const ms = Object.fromEntries(WAYS.map((way) => [way, [] as number[]])) as Record<Way, number[]>;
  for (const { query } of questions.slice(0, 5)) for (const way of WAYS) await ask[way](query);
  for (const [question, recalled] of recall) {
    for (const way of WAYS) {
      let found: string[] = [];
      ms[way].push(await timed(async () => (found = await ask[way](question.query))));
      recalled[way] = found.filter((id) => question.relevant.has(id)).length / question.relevant.size;
    }
  }
  const of = (number: (values: number[]) => number) =>
    Object.fromEntries(WAYS.map((way) => [way, rounded(number(ms[way]))])) as Record<Way, number>;
  return {
    turns: texts.length,
    findings: KINDS.map((kind) => {
      const those = [...recall].filter(([question]) => question.kind === kind).map(([, recalled]) => recalled);
      const mean = (way: Way) => rounded(those.reduce((sum, recalled) => sum + recalled[way], 0) / those.length);
      const entries = WAYS.map((way) => [way, mean(way)]);
      return { kind, queries: those.length, recall: Object.fromEntries(entries) as Record<Way, number> };
    }),
    medianMs: of(median),
    p95Ms: of((values) => quantile(values, 0.95)),
    indexUsed: await usesIndex(database),
  };
}

async function readTexts(file: string): Promise<BenchText[]> {
  const bytes = createReadStream(file);
  const texts: BenchText[] = [];
  for await (const { number, text } of readLines(
    file.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes,
    LINE_BYTES,
  )) {
    if (text === null) throw new MnemoqError('invalid_input', `line ${number} of ${file} is too long`);
    if (text === '') continue;
    const { userMessage, assistantMessage } = JSON.parse(text) as BenchText;
    texts.push({ id: uuidv7(), userMessage, assistantMessage, text: `${userMessage}\n${assistantMessage}` });
  }
  return texts;
}

async function byMnemoq(memory: MemoryCore, query: string): Promise<string[]> {
  return (await memory.search({ query, limit: RECALLED })).items.map(({ id }) => id);
}

/** Writes the result for people. */
export function searchTable({ turns, findings, medianMs, p95Ms, indexUsed }: SearchResult): ResultTable {
  return {
    title: `Search among ${turns} turns: recall@${RECALLED}`,
    head: ['query', 'queries', ...WAYS],
    rows: [
      ...findings.map(({ kind, queries, recall }) => [kind, queries, ...WAYS.map((way) => recall[way])]),
      ['median ms', '', ...WAYS.map((way) => medianMs[way])],
      ['p95 ms', '', ...WAYS.map((way) => p95Ms[way])],
    ],
    note: `All over PostgREST; one query at a time, in turn. The index is ${indexUsed ? 'used' : 'not used'} for a look-up.`,
  };
}
