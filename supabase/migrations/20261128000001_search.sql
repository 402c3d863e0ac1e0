-- Search by words, in the token ids of the records: no text, no language model and no embedding (docs/search.md).
--
-- This file is optional. Who needs no search does not apply it: everything else works without it, the database is smaller,
-- and inserts are faster. A search then answers that this file is missing, and `mnemoq doctor` says that search is not
-- installed, which is no fault. To leave it out, delete or move the file before the migrations are applied.
--
-- It may be applied at any time later, also to a database that has records. It then builds the index over all of them, and
-- nobody can write to the table until that is done; what is saved meanwhile waits in Redis. Where migrations with higher
-- numbers were applied before, the command is: supabase db push --remote --include-all
--
-- To take search away again:
--   drop function public.mnemoq_search;
--   drop index public.memories_search_idx;
--   drop function public.mnemoq_search_terms;
--   delete from supabase_migrations.schema_migrations where version = '20261128000001';
--
-- The caller gives token ids. Only the caller has the tokenizer, so only the caller knows what a word is and which ids may
-- spell it (search-terms.ts of the TypeScript sources).
--
-- Contents
--   1. What must be there before
--   2. The terms of a record, and their index
--   3. Searching
--   4. Who may call the functions


-- 1. What must be there before ----------------------------------------------------------------------------------------

do $$
begin
  if to_regclass('public.memories') is null then
    raise exception 'There is no table public.memories. Apply supabase/migrations/20261128000000_mnemoq.sql first.';
  end if;
end
$$;


-- 2. The terms of a record, and their index ---------------------------------------------------------------------------

-- The lexemes of a record are its distinct token ids. Each has the letter of its encoding in front, because the same number
-- is another token in another encoding: "c1917" is token 1917 of cl100k_base. The letter alone is a lexeme too, and says
-- which encoding the record has. An encrypted record has one lexeme, "sealed".
--
-- Of each part only the first 400,000 characters of ids count, which are about 60,000 tokens: a tsvector holds one megabyte,
-- and a record whose lexemes need more would be refused. A part that is no list of numbers has no lexemes. So this function
-- never makes PostgreSQL refuse a row.
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

comment on function public.mnemoq_search_terms(jsonb) is
  'The distinct token ids of a record as lexemes, each with the letter of its encoding in front: c cl100k_base, o o200k_base, p p50k_base, e p50k_edit, r r50k_base, g gpt2. The index memories_search_idx has them.';

-- The index keeps its default, fastupdate: new terms are collected and sorted in together. A record has about a hundred
-- terms, and sorting in each of them at once makes inserts four times as slow again (docs/search.md).
create index memories_search_idx on public.memories using gin (public.mnemoq_search_terms(tokens));


-- 3. Searching --------------------------------------------------------------------------------------------------------

-- The scope is the records of user p_user, of conversation p_context, of both, or all records where they are null. Each of
-- p_terms is a tsquery over the lexemes of mnemoq_search_terms, in the encodings whose letters are p_letters. The answer is
-- one JSON object:
--   rows         at most p_limit records of the scope that have some of the terms, best first
--   total        how many records the scope has, counted up to 100,000
--   meanLength   their mean length in tokens
--   frequencies  for each term, how many records of the scope have it
--   sealed       how many records of the scope are encrypted, counted up to 1000
--   letters      encodings that records of the scope have and that are not among p_letters
-- With all but the rows the caller can rank other records beside these.
--
-- The order is that of BM25, except that here a record has a term or does not have it. How often it has it the caller counts,
-- in the text. Nothing outside of the scope is counted, because a rank that depended on what other users have said would
-- tell something about it.
--
-- The work is bounded. A scope of at most 2000 records is read through. In a larger scope its newest 300 records show about
-- how many records have each term:
--   Of the terms that fewer than about 20,000 records have, or fewer than one record in fifty, the 16 rarest are looked up in
--   the index, each up to 2000 records.
--   All other terms are frequent, and so are those of which 2000 records were found. To look up a frequent term by itself
--   would take the index long. Frequent terms are looked up in pairs, each with the term after it, the 8 rarest pairs, and
--   in the newest 300 records.
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

comment on function public.mnemoq_search(text, text, text[], text[], integer) is
  'The records of a user, of a conversation, of both or of all that are likeliest to be what a query is looking for, and the numbers that it takes to rank other records beside them.';


-- 4. Who may call the functions ---------------------------------------------------------------------------------------

-- Mnemoq alone, as in the file before. While the index exists, mnemoq_search_terms is called at every insert with the rights
-- of whoever inserts.
revoke all on function
  public.mnemoq_search_terms(jsonb),
  public.mnemoq_search(text, text, text[], text[], integer)
  from public, anon, authenticated;
grant execute on function
  public.mnemoq_search_terms(jsonb),
  public.mnemoq_search(text, text, text[], text[], integer)
  to service_role;

-- A PostgREST that is running reads the schema anew.
notify pgrst, 'reload schema';
