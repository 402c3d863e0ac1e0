-- Version 2: what the other modules of an agent system ask for. Fine-tune outputs and knowledge are pinned like
-- reflections; trends, exports and the list of conversations are answered from indexes alone.
-- Whoever uses other table names than these replaces them here, in the functions too.

-- Ids are compared byte by byte: the same order everywhere, and a prefix is a range of the index.
drop policy "users read their own memories" on public.memories;
alter table public.memories
  alter column context_id type text collate "C",
  alter column user_id type text collate "C";
create policy "users read their own memories" on public.memories
  for select to authenticated using (user_id = (select auth.uid())::text);

alter table public.memory_reflections
  add column module text not null default 'reflection' check (module in ('reflection', 'finetune', 'knowledge'));
comment on column public.memory_reflections.module is 'The record''s module in memories.';
grant select (module) on public.memory_reflections to authenticated;
-- listKnowledge, newest first.
create index memory_reflections_module_idx on public.memory_reflections (module, created_at, id)
  where module <> 'reflection';

-- How many tokens one part of a record has: the length of its array, or the count that stands beside sealed arrays.
create function public.mnemoq_count_tokens(tokens jsonb, part text) returns integer
language sql immutable parallel safe
set search_path = ''
as $$
  select case
    when pg_catalog.jsonb_typeof(tokens -> part) = 'array' then pg_catalog.jsonb_array_length(tokens -> part)
    when pg_catalog.jsonb_typeof(tokens -> 'counts' -> part) = 'number' then (tokens -> 'counts' ->> part)::integer
    else 0
  end
$$;

alter table public.memories
  add column user_tokens      integer generated always as (public.mnemoq_count_tokens(tokens, 'user')) stored,
  add column assistant_tokens integer generated always as (public.mnemoq_count_tokens(tokens, 'assistant')) stored,
  add column text_tokens      integer generated always as (public.mnemoq_count_tokens(tokens, 'text')) stored;
comment on column public.memories.user_tokens is 'Tokens of a turn''s user message, counted from tokens; 0 for other records.';
comment on column public.memories.assistant_tokens is 'Tokens of a turn''s reply, counted from tokens; 0 for other records.';
comment on column public.memories.text_tokens is 'Tokens of a record with one text, counted from tokens; 0 for turns.';

-- Trends read these indexes alone, not the rows with their token arrays.
drop index public.memories_user_idx;
create index memories_user_idx on public.memories (user_id, created_at, id)
  include (context_id, module, user_tokens, assistant_tokens, text_tokens) where user_id is not null;
create index memories_time_idx on public.memories (created_at, id)
  include (module, user_tokens, assistant_tokens, text_tokens);

-- Turns, tokens and reflections per hour, day or week of a time zone, of a user, a conversation, both or all; buckets
-- without any record are left out. A gap is the time between two turns that follow each other within the bucket.
create function public.mnemoq_trends(
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
      select pg_catalog.date_trunc($3, created_at, $4),
             count(*) filter (where module = 'chat'),
             coalesce(sum(user_tokens), 0),
             coalesce(sum(assistant_tokens), 0),
             count(*) filter (where module = 'reflection'),
             coalesce(sum(text_tokens) filter (where module = 'reflection'), 0),
             (extract(epoch from max(created_at) filter (where module = 'chat')
                               - min(created_at) filter (where module = 'chat'))
               / nullif(count(*) filter (where module = 'chat') - 1, 0))::double precision
        from public.memories
       where created_at >= $1 and created_at < $2 %s %s
       group by 1 order by 1
    $query$,
    case when p_user is null then '' else 'and user_id = $5' end,
    case when p_context is null then '' else 'and context_id = $6' end
  ) using p_from, p_to, p_bucket, p_tz, p_user, p_context;
end
$$;

-- The conversations whose id begins with a prefix, in the order of their ids, each with its newest record's time: from one
-- id to the next through the index, however many records lie between them.
create function public.mnemoq_conversations(p_prefix text, p_after text, p_limit integer)
returns table (context_id text, last_at timestamptz)
language sql stable
set search_path = ''
as $$
  with recursive ids (id) as (
    (select m.context_id from public.memories m
      where m.context_id >= p_prefix and m.context_id > p_after
      order by m.context_id limit 1)
    union all
    select (select m.context_id from public.memories m where m.context_id > ids.id order by m.context_id limit 1)
      from ids
     where pg_catalog.starts_with(ids.id, p_prefix)
  )
  select ids.id, (select max(m.created_at) from public.memories m where m.context_id = ids.id)
    from ids
   where pg_catalog.starts_with(ids.id, p_prefix)
   limit p_limit
$$;

-- The same of one user: the conversations in which he has records.
create function public.mnemoq_user_conversations(p_user text, p_prefix text, p_after text, p_limit integer)
returns table (context_id text, last_at timestamptz)
language sql stable
set search_path = ''
as $$
  select m.context_id, max(m.created_at)
    from public.memories m
   where m.user_id = p_user and pg_catalog.starts_with(m.context_id, p_prefix) and m.context_id > p_after
   group by m.context_id
   order by m.context_id
   limit p_limit
$$;

create or replace function public.mnemoq_schema_version() returns integer
language sql immutable
set search_path = ''
as $$ select 2 $$;

revoke all on function
  public.mnemoq_count_tokens(jsonb, text),
  public.mnemoq_trends(text, text, timestamptz, timestamptz, text, text),
  public.mnemoq_conversations(text, text, integer),
  public.mnemoq_user_conversations(text, text, text, integer)
  from public, anon, authenticated;
grant execute on function
  public.mnemoq_count_tokens(jsonb, text),
  public.mnemoq_trends(text, text, timestamptz, timestamptz, text, text),
  public.mnemoq_conversations(text, text, integer),
  public.mnemoq_user_conversations(text, text, text, integer)
  to service_role;
