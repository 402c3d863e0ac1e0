import { tokenize } from '../../shared/records/tokens.ts';
import { startPostgrest } from '../../test/support/services/postgrest.ts';
import type { BenchText } from './search-questions.ts';

const ROWS_AT_ONCE = 500;

type Database = Awaited<ReturnType<typeof startPostgrest>>;

/** Fills the rows with their tokens for Mnemoq, and a table with the plain text for the other ways. */
export async function store(texts: readonly BenchText[], database: Database): Promise<void> {
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

export async function byFullText(database: Database, query: string, config: string, joint: string): Promise<string[]> {
  return byFunction(database, 'bench_search', { config, query, joint });
}

export async function byFunction({ url, serviceKey }: Database, name: string, args: object): Promise<string[]> {
  const answer = await fetch(`${url}/rest/v1/rpc/${name}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${serviceKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(args),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return ((await answer.json()) as { id: string }[]).map(({ id }) => id);
}

export async function usesIndex(database: Database): Promise<boolean> {
  const plan = await database.sql(
    "explain select from public.memories m where public.mnemoq_search_terms(m.tokens) @@ 'c1 & c2'",
  );
  return plan.some((line) => String(line['QUERY PLAN']).includes('memories_search_idx'));
}
