-- Version 4: search in tokens, without any text, language model or embedding. What is looked for are token ids; what a word
-- is, and which ids may spell it, the caller knows, who has the tokenizer (producers/questions/search-terms.ts).
-- Whoever uses other table names than these replaces them here, in the functions too.

-- The distinct token ids of a record as lexemes, each with its encoding's letter in front, for the same number is another
-- token in another encoding; the letter alone says which encoding it is. Of an encrypted record only that it is one.
-- A message's first 400,000 characters of ids, about 60,000 tokens: a tsvector holds a megabyte, and a record that it
-- cannot hold would be refused. What is no list of numbers has no ids, so no row of anybody's can be refused here.
create function public.mnemoq_search_terms(tokens jsonb) returns tsvector
language sql immutable parallel safe cost 1000
set search_path = ''
as $$
  select case
    when tokens ? 'sealed' then 'sealed'::pg_catalog.tsvector
    when tokens ->> 'encoding' = any ('{cl100k_base,o200k_base,p50k_base,p50k_edit,r50k_base,gpt2}'::text[]) then
      pg_catalog.replace(
        pg_catalog.translate(
          ' ' || coalesce(pg_catalog.left(pg_catalog.substring(tokens ->> 'user', '^\[[0-9, ]*\]$'), 400000), '')
              || coalesce(pg_catalog.left(pg_catalog.substring(tokens ->> 'assistant', '^\[[0-9, ]*\]$'), 400000), '')
              || coalesce(pg_catalog.left(pg_catalog.substring(tokens ->> 'text', '^\[[0-9, ]*\]$'), 400000), ''),
          '[],', ' '),
        ' ',
        case tokens ->> 'encoding'
          when 'cl100k_base' then ' c' when 'o200k_base' then ' o' when 'p50k_base' then ' p'
          when 'p50k_edit' then ' e' when 'r50k_base' then ' r' else ' g'
        end)::pg_catalog.tsvector
  end
$$;

-- With fastupdate, which is the default: a record has a hundred terms, and to sort each in at once makes inserts four times as
-- slow again (docs/search.md). Whoever needs no search drops this index: all else works without it, and inserts are faster.
create index memories_search_idx on public.memories using gin (public.mnemoq_search_terms(tokens));

-- The records of a scope that a query's terms speak for, at most p_limit, best first, and what is needed to rank them and
-- others beside them: how many records the scope has, their mean length in tokens, how many have each term. Each of p_terms
-- is a tsquery over the lexemes of mnemoq_search_terms, of the encodings whose letters are p_letters.
--
-- Here a record has a term or not; how often is counted by the caller, in text. Otherwise the order is that of BM25. Nothing
-- outside of the scope is counted: a rank that depended on what others have said would tell of it.
--
-- The work is bounded. A scope of up to 2000 records is read through. In a larger one its newest 300 records show how often
-- a term is about: what more than some 20,000 records have, and one in fifty, is not looked up, for that alone would take
-- the index long; the 16 rarest of the others are, each up to 2000 records. Terms that are more frequent than that are
-- looked up in pairs, each with the one after it, the 8 rarest pairs, and in the newest 300. A scope is counted up to 100,000.
create function public.mnemoq_search(p_user text, p_context text, p_terms text[], p_letters text[], p_limit integer)
returns jsonb
language plpgsql stable
set search_path = ''
set work_mem = '32MB' -- a smaller bitmap forgets which rows of a page it meant, and computes all their lexemes again
set jit = off
as $$
declare
  scope constant text := case when p_user is null then '' else ' and m.user_id = $1' end
                      || case when p_context is null then '' else ' and m.context_id = $2' end;
  total bigint;
  stored bigint;
  often double precision;
  is_small boolean;
  answer jsonb;
begin
  select c.reltuples into stored from pg_catalog.pg_class c where c.oid = 'public.memories'::pg_catalog.regclass;
  if scope = '' and stored >= 100000 then
    total := 100000;
  else
    execute pg_catalog.format(
      'select count(*) from (select from public.memories m where true %s limit 100000) counted', scope
    ) into total using p_user, p_context;
  end if;
  is_small := total <= 2000;
  often := greatest(0.02, 20000.0 / greatest(stored, total, 1));

  execute pg_catalog.format(
    $query$
      with newest as materialized (
        select m.id, m.created_at, m.user_tokens + m.assistant_tokens + m.text_tokens as length,
               public.mnemoq_search_terms(m.tokens) as lexemes
          from public.memories m where true %1$s
         order by m.created_at desc, m.id desc limit %2$s
      ), average as materialized (
        select greatest(1, avg(length))::double precision as length from newest
      ), term as materialized (
        select n, query::pg_catalog.tsquery as query,
               coalesce((select avg((newest.lexemes @@ query::pg_catalog.tsquery)::integer) from newest), 0) as share
          from pg_catalog.unnest($3) with ordinality given (query, n)
      ), rare as materialized (
        select n, query from term where %3$s
      ), posting as materialized (
        select rare.n, found.*
          from rare cross join lateral (
            select m.id, m.created_at, %4$s as length from %5$s @@ rare.query %6$s limit 2000
          ) found
      ), counted as (
        select term.*, case when rare.n is not null then (select count(*) from posting where posting.n = term.n) end as found
          from term left join rare on rare.n = term.n
      ), weighed as (
        select n, query, found is null or found = 2000 and not $7 as is_frequent,
               case when found < 2000 or $7 then found else greatest(2000, (share * $5)::bigint) end as records
          from counted
      ), weight as materialized (
        select *, pg_catalog.ln(1 + greatest(0, $5 - records + 0.5) / (records + 0.5))::double precision as idf from weighed
      ), pair as materialized (
        select a.n as one, b.n as other, a.query && b.query as query
          from weight a join weight b on b.n = a.n + 1 and a.is_frequent and b.is_frequent
         cross join lateral (
            select avg((newest.lexemes @@ (a.query && b.query))::integer) as share from newest
          ) both_of
         where both_of.share < $8 order by both_of.share, a.n limit 8
      ), paired as materialized (
        select pair.one, pair.other, found.*
          from pair cross join lateral (
            select m.id, m.created_at, %4$s as length from %5$s @@ pair.query %6$s limit 2000
          ) found
      ), has as (
        select n, id, created_at, length from posting
         union select one, id, created_at, length from paired
         union select other, id, created_at, length from paired
         union select weight.n, newest.id, newest.created_at, newest.length
                 from weight join newest on newest.lexemes @@ weight.query where weight.is_frequent
      ), likely as materialized (
        select has.id, has.created_at, sum(weight.idf) as idf,
               1 / (1 + 1.2 * (0.25 + 0.75 * has.length / average.length)) as brevity
          from has join weight using (n) cross join average
         group by has.id, has.created_at, has.length, average.length
         order by sum(weight.idf) / (1 + 1.2 * (0.25 + 0.75 * has.length / average.length)) desc,
                  has.created_at desc, has.id desc
         limit 4 * $6
      ), complete as materialized (
        select likely.*, case when exists (select from weight where is_frequent)
                              then public.mnemoq_search_terms(m.tokens) end as lexemes
          from likely join public.memories m using (id)
      ), best as (
        select id, brevity * coalesce((select sum(weight.idf) from weight where complete.lexemes @@ weight.query), idf) as score
          from complete order by score desc, created_at desc, id desc limit $6
      )
      select pg_catalog.jsonb_build_object(
        'total', $5,
        'meanLength', (select coalesce(length, 1) from average),
        'frequencies', (select coalesce(jsonb_agg(records order by n), '[]') from weight),
        'sealed', (select count(*) from (select from %5$s @@ 'sealed' %6$s limit 1000) found),
        'letters', (select coalesce(jsonb_agg(letter), '[]') from pg_catalog.unnest('{c,o,p,e,r,g}'::text[]) letter
                     where letter <> all ($4) and exists (select from %5$s @@ letter::pg_catalog.tsquery %6$s)),
        'rows', (select coalesce(jsonb_agg(
                          jsonb_build_object(
                            'id', m.id, 'user_id', m.user_id, 'context_id', m.context_id, 'tokens', m.tokens,
                            'text_cache', m.text_cache, 'module', m.module, 'cid', m.cid, 'created_at', m.created_at
                          ) order by best.score desc, m.created_at desc, m.id desc), '[]')
                   from best join public.memories m using (id)))
    $query$,
    scope,
    case when is_small then 2000 else 300 end,
    case when is_small then 'true' else 'share < $8 order by share, n limit 16' end,
    case when is_small then 'm.length' else 'm.user_tokens + m.assistant_tokens + m.text_tokens' end,
    case when is_small then 'newest m where m.lexemes'
         else 'public.memories m where public.mnemoq_search_terms(m.tokens)' end,
    case when is_small then '' else scope end
  ) into answer using p_user, p_context, p_terms, p_letters, total, p_limit, is_small, often;
  return answer;
end
$$;

create or replace function public.mnemoq_schema_version() returns integer
language sql immutable
set search_path = ''
as $$ select 4 $$;

revoke all on function
  public.mnemoq_search_terms(jsonb),
  public.mnemoq_search(text, text, text[], text[], integer)
  from public, anon, authenticated;
grant execute on function
  public.mnemoq_search_terms(jsonb),
  public.mnemoq_search(text, text, text[], text[], integer)
  to service_role;
