-- Version 5: trends of very many records. Asking for each bucket's span by itself reads the index in its order; grouping by
-- a truncated time sorted a million rows first, for want of a guess how few groups there would be.

-- Of a conversation, too, from the index alone.
drop index public.memories_context_idx;
create index memories_context_idx on public.memories (context_id, created_at, id)
  include (module, user_tokens, assistant_tokens, text_tokens);

-- Turns, tokens and reflections per hour, day or week of a time zone, of a user, a conversation, both or all; buckets
-- without any record are left out. A gap is the time between two turns that follow each other within the bucket.
create or replace function public.mnemoq_trends(
  p_user text, p_context text, p_from timestamptz, p_to timestamptz, p_bucket text, p_tz text
) returns table (
  start timestamptz, turns bigint, user_tokens bigint, assistant_tokens bigint,
  reflections bigint, reflection_tokens bigint, mean_gap_seconds double precision
)
language plpgsql stable
set search_path = ''
as $$
begin
  -- Only the conditions that are asked for: with all of them in one text the planner could choose no index.
  return query execute pg_catalog.format(
    $query$
      with starts as (
        -- Shorter steps than the shortest bucket a change of the clock leaves, so none is stepped over.
        select distinct pg_catalog.date_trunc($3, step, $4) as at
          from pg_catalog.generate_series($1, $2, case $3 when 'hour' then interval '30 minutes' else interval '12 hours' end) step
      ),
      spans as (
        select at, pg_catalog.lead(at, 1, $2) over (order by at) as until from starts
      )
      select spans.at, its.turns, its.user_tokens, its.assistant_tokens, its.reflections, its.reflection_tokens,
             (extract(epoch from its.last_turn - its.first_turn) / nullif(its.turns - 1, 0))::double precision
        from spans cross join lateral (
          select count(*) as records,
                 count(*) filter (where module = 'chat') as turns,
                 coalesce(sum(m.user_tokens), 0) as user_tokens,
                 coalesce(sum(m.assistant_tokens), 0) as assistant_tokens,
                 count(*) filter (where module = 'reflection') as reflections,
                 coalesce(sum(text_tokens) filter (where module = 'reflection'), 0) as reflection_tokens,
                 min(created_at) filter (where module = 'chat') as first_turn,
                 max(created_at) filter (where module = 'chat') as last_turn
            from public.memories m
           where created_at >= greatest(spans.at, $1) and created_at < least(spans.until, $2) %s %s
        ) its
       where its.records > 0
       order by 1
    $query$,
    case when p_user is null then '' else 'and user_id = $5' end,
    case when p_context is null then '' else 'and context_id = $6' end
  ) using p_from, p_to, p_bucket, p_tz, p_user, p_context;
end
$$;

create or replace function public.mnemoq_schema_version() returns integer
language sql immutable
set search_path = ''
as $$ select 5 $$;
