-- Version 3: where a reflection comes from. Each names the one before it, so that a missing link shows, and all of them
-- are listed by user, by time and by CID.

alter table public.memory_reflections add column previous_cid text;
comment on column public.memory_reflections.previous_cid is
  'CID of the newest earlier record of the same module, conversation and user when this one''s document was first made.';
grant select (previous_cid) on public.memory_reflections to authenticated;

-- Newest first, of one user or of all.
create index memory_reflections_user_idx on public.memory_reflections (user_id, created_at, id) where user_id is not null;
create index memory_reflections_time_idx on public.memory_reflections (created_at, id);

create or replace function public.mnemoq_schema_version() returns integer
language sql immutable
set search_path = ''
as $$ select 3 $$;
