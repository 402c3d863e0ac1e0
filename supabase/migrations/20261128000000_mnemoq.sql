-- The schema of Mnemoq's long-term memory: two tables, their indexes, the functions that read them, and who may do what.
--
-- Search is not here. It is the next file, 20261128000001_search.sql, and it is optional.
--
-- How to apply all files of this folder, from the folder above supabase/:
--   a hosted Supabase project:  supabase link, then supabase db push --remote
--   a bare PostgreSQL:          psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -1 -f supabase/bootstrap.sql
--                               then supabase db push --remote="$DATABASE_URL",
--                               or psql with the same options for each file, in the order of their names
--   docker compose, mnemoq dev: they do it by themselves
-- These are the commands of version 3 of the Supabase CLI. In version 2 it is "supabase db push", and --db-url for --remote=.
--
-- Whoever wants other names for the two tables replaces the names in this file and in the search file, in the bodies of the
-- functions too, and sets MEMORY_MEMORIES_TABLE and MEMORY_REFLECTIONS_TABLE.
--
-- Contents
--   1. What must be there before
--   2. Counting tokens
--   3. Table memories
--   4. Table memory_reflections
--   5. Who may read and write the tables
--   6. Conversations
--   7. Trends
--   8. The version of the schema
--   9. Who may call the functions


-- 1. What must be there before ----------------------------------------------------------------------------------------

-- A hosted Supabase project has three roles for its API and a function that tells the signed-in user. A bare PostgreSQL has
-- none of them. This block then stops the migration with one error that says what to do, before anything is made.
do $$
declare
  missing constant text := concat_ws(
    ', ',
    case when to_regrole('anon') is null then 'role anon' end,
    case when to_regrole('authenticated') is null then 'role authenticated' end,
    case when to_regrole('service_role') is null then 'role service_role' end,
    case when to_regprocedure('auth.uid()') is null then 'function auth.uid()' end
  );
begin
  if missing <> '' then
    raise exception 'This database lacks what a Supabase project has (%). Run supabase/bootstrap.sql first.', missing
      using hint = 'As a superuser: psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -1 -f supabase/bootstrap.sql';
  end if;
end
$$;


-- 2. Counting tokens --------------------------------------------------------------------------------------------------

-- The generated columns of memories call this function, so it comes before the table.
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

comment on function public.mnemoq_count_tokens(jsonb, text) is
  'How many tokens one part (user, assistant or text) of a record has: the length of its array, or the number that stands beside encrypted tokens; 0 when the record has no such part.';


-- 3. Table memories ---------------------------------------------------------------------------------------------------

-- The ids of users and conversations are compared byte by byte (collate "C"). So their order is the same on every server,
-- and all ids that begin with a prefix stand beside each other in an index.
create table public.memories (
  id         uuid        primary key,
  user_id    text        collate "C" check (char_length(user_id) between 1 and 512),
  context_id text        collate "C" not null check (char_length(context_id) between 1 and 512),
  tokens     jsonb       not null,
  text_cache text,
  module     text        not null check (module in ('chat', 'reflection', 'finetune', 'knowledge')),
  cid        text,
  created_at timestamptz not null,

  user_tokens      integer generated always as (public.mnemoq_count_tokens(tokens, 'user')) stored,
  assistant_tokens integer generated always as (public.mnemoq_count_tokens(tokens, 'assistant')) stored,
  text_tokens      integer generated always as (public.mnemoq_count_tokens(tokens, 'text')) stored
);

comment on table public.memories is
  'One row per record: a turn of a conversation, a reflection, a fine-tune output or a knowledge item.';
comment on column public.memories.id is
  'UUIDv7 that the producer gives. Because it is the primary key, a record that is written twice is still one row.';
comment on column public.memories.user_id is
  'Whose record it is, 1 to 512 characters; null when it belongs to nobody. A signed-in user may read the rows where this equals auth.uid().';
comment on column public.memories.context_id is 'The conversation that the record belongs to, 1 to 512 characters.';
comment on column public.memories.tokens is
  'The text as token ids. A turn: {"encoding","user":[…],"assistant":[…]}; another record: {"encoding","text":[…]}; encrypted: {"encoding","sealed","counts":{…}} with the number of tokens of each part.';
comment on column public.memories.text_cache is
  'The text as JSON, for people: an encrypted envelope (v1.<kid>.<iv>.<tag+ciphertext>), plain JSON or null, as MEMORY_TEXT_CACHE says.';
comment on column public.memories.module is
  'What kind of record it is: chat (a turn), reflection, finetune or knowledge.';
comment on column public.memories.cid is 'The IPFS CID of a pinned record; null until it is pinned, and always null for a turn.';
comment on column public.memories.created_at is
  'When it was said, to the millisecond. The pair (created_at, id) is the order of the records of a conversation.';
comment on column public.memories.user_tokens is
  'How many tokens the user''s message of a turn has, computed from tokens; 0 for other records.';
comment on column public.memories.assistant_tokens is
  'How many tokens the reply of a turn has, computed from tokens; 0 for other records.';
comment on column public.memories.text_tokens is
  'How many tokens a record with one text has, computed from tokens; 0 for turns.';

-- The columns after "include" are there for trends and exports, which are then answered from an index alone: the rows
-- themselves, with their long arrays of tokens, are not read.

-- Reads a conversation in the order of (created_at, id), newest first or page by page, and computes its trends.
create index memories_context_idx on public.memories (context_id, created_at, id)
  include (module, user_tokens, assistant_tokens, text_tokens);

-- Lists, exports and erases the records of one user, and computes the user's trends.
create index memories_user_idx on public.memories (user_id, created_at, id)
  include (context_id, module, user_tokens, assistant_tokens, text_tokens)
  where user_id is not null;

-- Exports the records of all users in order of time, and computes the trends of all.
create index memories_time_idx on public.memories (created_at, id)
  include (module, user_tokens, assistant_tokens, text_tokens);

-- Finds a record by its CID.
create index memories_cid_idx on public.memories (cid) where cid is not null;


-- 4. Table memory_reflections -----------------------------------------------------------------------------------------

create table public.memory_reflections (
  id           uuid        primary key references public.memories (id) on delete cascade,
  context_id   text        collate "C" not null,
  user_id      text        collate "C",
  module       text        not null default 'reflection' check (module in ('reflection', 'finetune', 'knowledge')),
  cid          text        not null,
  sha256       text        not null,
  signature    text        not null,
  signing_kid  text        not null,
  signing_key  text        not null,
  wrapped_key  text,
  visibility   text        not null check (visibility in ('private', 'public')),
  source_ids   uuid[]      not null default '{}',
  previous_cid text,
  pinned_at    timestamptz,
  created_at   timestamptz not null,

  -- A private document is encrypted with a key of its own; a public one has no key.
  check ((visibility = 'private') = (wrapped_key is not null))
);

comment on table public.memory_reflections is
  'One row for each record of memories that is pinned on IPFS: what it takes to verify the pinned document, and to read it while its key exists.';
comment on column public.memory_reflections.id is
  'The id of the record in memories. When that row is deleted, this one is deleted with it.';
comment on column public.memory_reflections.context_id is 'The context_id of the record in memories.';
comment on column public.memory_reflections.user_id is
  'The user_id of the record in memories. A signed-in user may read the rows where this equals auth.uid().';
comment on column public.memory_reflections.module is 'The module of the record in memories; never chat, for turns are not pinned.';
comment on column public.memory_reflections.cid is
  'CIDv1 of the document, computed before the upload and compared with what the IPFS node answered.';
comment on column public.memory_reflections.sha256 is
  '64 hex digits: of a public document the SHA-256 of its text, of a private one the HMAC-SHA-256 of its text under the document''s own key.';
comment on column public.memory_reflections.signature is
  'Ed25519 signature over the canonical JSON of the document without this signature, in base64url.';
comment on column public.memory_reflections.signing_kid is 'The first 16 hex digits of the SHA-256 of the raw public key.';
comment on column public.memory_reflections.signing_key is
  'The raw Ed25519 public key in base64url, so that a signature can still be verified after the signing key was changed.';
comment on column public.memory_reflections.wrapped_key is
  'The AES-256 key of a private document, encrypted with a key of MEMORY_ENCRYPTION_KEYS; null for a public document. Without it nobody can read the copy on IPFS.';
comment on column public.memory_reflections.visibility is
  'private: the document on IPFS is encrypted. public: everybody who has the CID can read it.';
comment on column public.memory_reflections.source_ids is 'The ids of the turns that the text was made from.';
comment on column public.memory_reflections.previous_cid is
  'The CID of the newest earlier record of the same module, conversation and user, as it was when this document was first made; null when there was none.';
comment on column public.memory_reflections.pinned_at is 'When the IPFS node confirmed the pin; null until then.';
comment on column public.memory_reflections.created_at is 'The created_at of the record in memories.';

-- Lists the reflections of a conversation, newest first.
create index memory_reflections_context_idx on public.memory_reflections (context_id, created_at, id);

-- Lists the reflections of one user, newest first.
create index memory_reflections_user_idx on public.memory_reflections (user_id, created_at, id)
  where user_id is not null;

-- Lists the reflections of all users, newest first.
create index memory_reflections_time_idx on public.memory_reflections (created_at, id);

-- Lists knowledge, newest first. Most rows are reflections, and those are left out.
create index memory_reflections_module_idx on public.memory_reflections (module, created_at, id)
  where module <> 'reflection';

-- Finds a reflection by its CID.
create index memory_reflections_cid_idx on public.memory_reflections (cid);


-- 5. Who may read and write the tables --------------------------------------------------------------------------------

-- anon:           nothing at all.
-- authenticated:  a signed-in user reads their own rows, and never a wrapped key. The user writes nothing.
-- service_role:   Mnemoq itself, with SUPABASE_SERVICE_ROLE_KEY. It reads and writes all rows.

-- A Supabase project gives these roles every right on each new table. That is taken back first, and then each role gets
-- what it needs and no more.
revoke all on public.memories, public.memory_reflections from public, anon, authenticated, service_role;

grant select, insert, update, delete on public.memories, public.memory_reflections to service_role;

grant select on public.memories to authenticated;
grant select (
  id, context_id, user_id, module, cid, sha256, signature, signing_kid, signing_key, visibility, source_ids, previous_cid,
  pinned_at, created_at
) on public.memory_reflections to authenticated;

-- With row level security a role sees only the rows that a policy allows. service_role is exempt from it (bypassrls).
alter table public.memories enable row level security;
alter table public.memory_reflections enable row level security;

-- The inner "select" lets PostgreSQL ask for the user once per query and not once per row.
create policy "users read their own memories" on public.memories
  for select to authenticated using (user_id = (select auth.uid())::text);
create policy "users read their own reflections" on public.memory_reflections
  for select to authenticated using (user_id = (select auth.uid())::text);


-- 6. Conversations ----------------------------------------------------------------------------------------------------

-- There is no table of conversations: they are the distinct values of memories.context_id. This function goes through the
-- index from each id to the next, so its work does not depend on how many records lie between them.
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

comment on function public.mnemoq_conversations(text, text, integer) is
  'The first p_limit conversations whose id begins with p_prefix and comes after p_after, in the order of their ids, each with the time of its newest record.';

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

comment on function public.mnemoq_user_conversations(text, text, text, integer) is
  'The same as mnemoq_conversations, of one user: the conversations in which p_user has records, each with the time of the newest of them.';


-- 7. Trends -----------------------------------------------------------------------------------------------------------

-- Each bucket is asked for by itself, as a span of time, because then PostgreSQL reads an index in its order. Grouping all
-- rows by a truncated time made it sort a million rows first, because it could not guess how few groups there would be.
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
  -- The text of the query has only the conditions that are asked for. With all of them in it PostgreSQL could use no index.
  return query execute pg_catalog.format(
    $query$
      with starts as (
        -- The steps are shorter than the shortest bucket that a change of the clock can leave, so no bucket is missed.
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

comment on function public.mnemoq_trends(text, text, timestamptz, timestamptz, text, text) is
  'Turns, tokens and reflections from p_from until before p_to, by p_bucket (hour, day or week) of time zone p_tz; of a user, a conversation, both, or all records where they are null. A bucket without records has no row. mean_gap_seconds: seconds from one turn to the next within the bucket; null with fewer than two turns.';


-- 8. The version of the schema ----------------------------------------------------------------------------------------

-- `mnemoq doctor` compares this number with SCHEMA_VERSION of the TypeScript sources. Once Mnemoq is released, this file is
-- not edited any more. A change that a new Mnemoq cannot work without is then a new file beside this one, which alters the
-- tables, replaces this function by one that answers the next number, and raises SCHEMA_VERSION to it. The search file does
-- not count: it is optional, and the doctor asks for it by itself.
create function public.mnemoq_schema_version() returns integer
language sql immutable
set search_path = ''
as $$ select 1 $$;

comment on function public.mnemoq_schema_version() is
  'Which version of Mnemoq''s schema this database has. mnemoq doctor reads it.';


-- 9. Who may call the functions ---------------------------------------------------------------------------------------

-- Mnemoq alone, like the tables. PostgreSQL lets everybody call a new function, and a Supabase project gives each of its
-- roles that right; both are taken back. The function that counts tokens is called at every insert with the rights of
-- whoever inserts, so service_role needs it too.
revoke all on function
  public.mnemoq_count_tokens(jsonb, text),
  public.mnemoq_conversations(text, text, integer),
  public.mnemoq_user_conversations(text, text, text, integer),
  public.mnemoq_trends(text, text, timestamptz, timestamptz, text, text),
  public.mnemoq_schema_version()
  from public, anon, authenticated;
grant execute on function
  public.mnemoq_count_tokens(jsonb, text),
  public.mnemoq_conversations(text, text, integer),
  public.mnemoq_user_conversations(text, text, text, integer),
  public.mnemoq_trends(text, text, timestamptz, timestamptz, text, text),
  public.mnemoq_schema_version()
  to service_role;

-- A PostgREST that is running reads the schema anew.
notify pgrst, 'reload schema';
