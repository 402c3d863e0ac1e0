/**
 * **bench/reading/**: what reads cost: searches, trends and long conversations.
 */
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import path from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { readLines } from '../../cli/terminal/lines.ts';
import { say } from '../../cli/terminal/output.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { tokenize } from '../../shared/records/tokens.ts';
import { startPostgrest } from '../../test/support/services/postgrest.ts';
import type { ResultTable } from '../report.ts';
import type { Stage } from '../stage.ts';
import { median, quantile, rounded, timed } from '../statistics.ts';
import { mulberry32 } from '../turns.ts';

const SAMPLE = path.join(import.meta.dirname, '../../cli/sample/turns.jsonl');
const SEED = 20_251_124;
const QUERIES = 100;
const RECALLED = 10;
/** A query that fits more turns than this is not a question that has an answer. */
const MOST_RELEVANT = 10;
const LINE_BYTES = 8 * 1024 * 1024;
const ROWS_AT_ONCE = 500;

/**
 * The kinds of queries, which stand for what somebody remembers of a turn: a piece between two commas, a few characters or words,
 * and two such pieces.
 */
const KINDS = ['piece', 'fragment', 'two fragments'] as const;
type Kind = (typeof KINDS)[number];
/**
 * The ways to search: Mnemoq's, and beside it those that PostgreSQL offers over the plain text. These are full text search with
 * and without English stems, for all or for some of the words, and the word similarity of pg_trgm. The latter has no index here,
 * so it scans the whole table: the benchmark asks what it finds.
 */
const WAYS = ['mnemoq', 'simple, all words', 'simple, any word', 'english, any word', 'pg_trgm'] as const;
type Way = (typeof WAYS)[number];

interface BenchText {
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

type Database = Awaited<ReturnType<typeof startPostgrest>>;

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

/** Fills the rows with their tokens for Mnemoq, and a table with the plain text for the other ways. */
async function store(texts: readonly BenchText[], database: Database): Promise<void> {
  await database.sql(`
    create table public.bench_texts (id uuid primary key, body text);
    create index on public.bench_texts using gin (to_tsvector('simple', body));
    create index on public.bench_texts using gin (to_tsvector('english', body));
    create function public.bench_search(config regconfig, query text, joint text) returns table (id uuid)
    language plpgsql stable as $$
    begin
      return query execute format(
        'select t.id from public.bench_texts t, to_tsquery(%1$L, $1) q where to_tsvector(%1$L, body) @@ q
          order by ts_rank_cd(to_tsvector(%1$L, body), q, 1) desc, t.id desc limit 10', config)
        using (select string_agg(quote_literal(word), joint)
                 from unnest(tsvector_to_array(to_tsvector('simple', query))) word);
    end $$;
    create extension pg_trgm;
    create function public.bench_similar(query text) returns table (id uuid) language sql stable as $$
      select t.id from public.bench_texts t where public.word_similarity(query, body) > 0.3
       order by public.word_similarity(query, body) desc, t.id desc limit 10
    $$;
    grant execute on function public.bench_search, public.bench_similar to service_role;
    grant select on public.bench_texts to service_role;
  `);
  for (let from = 0; from < texts.length; from += ROWS_AT_ONCE) {
    const some = texts.slice(from, from + ROWS_AT_ONCE);
    const tokens = some.map(({ userMessage, assistantMessage }) =>
      JSON.stringify(tokenize({ user: userMessage, assistant: assistantMessage }, 'cl100k_base')),
    );
    const ids = some.map(({ id }) => id);
    await database.sql(
      `insert into public.memories (id, context_id, user_id, tokens, module, created_at)
       select id, 'bench', 'bench', tokens::jsonb, 'chat', now() from unnest($1::uuid[], $2::text[]) row (id, tokens)`,
      [ids, tokens],
    );
    await database.sql('insert into public.bench_texts select * from unnest($1::uuid[], $2::text[])', [
      ids,
      some.map(({ text }) => text),
    ]);
  }
  await database.sql('analyze public.memories; analyze public.bench_texts');
}

async function byMnemoq(memory: MemoryCore, query: string): Promise<string[]> {
  return (await memory.search({ query, limit: RECALLED })).items.map(({ id }) => id);
}

async function byFullText(database: Database, query: string, config: string, joint: string): Promise<string[]> {
  return byFunction(database, 'bench_search', { config, query, joint });
}

async function byFunction({ url, serviceKey }: Database, name: string, args: object): Promise<string[]> {
  const answer = await fetch(`${url}/rest/v1/rpc/${name}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${serviceKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(args),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return ((await answer.json()) as { id: string }[]).map(({ id }) => id);
}

async function usesIndex(database: Database): Promise<boolean> {
  const plan = await database.sql(
    "explain select from public.memories m where public.mnemoq_search_terms(m.tokens) @@ 'c1 & c2'",
  );
  return plan.some((line) => String(line['QUERY PLAN']).includes('memories_search_idx'));
}

/** Makes the same questions in every run: `count` of each kind, or as many as the turns give. */
function questionsFrom(texts: readonly BenchText[], count: number): Question[] {
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
