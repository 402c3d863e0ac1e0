-- Mnemoq's long-term memory, version 1: two tables, their indexes and who may read them.

create table public.memories (
  id         uuid primary key,
  user_id    text        check (char_length(user_id) between 1 and 512),
  context_id text        not null check (char_length(context_id) between 1 and 512),
  tokens     jsonb       not null,
  text_cache text,
  module     text        not null check (module in ('chat', 'reflection', 'finetune', 'knowledge')),
  cid        text,
  created_at timestamptz not null
);

comment on table public.memories is 'One row per record: a turn, a reflection, a fine-tune output or a knowledge item.';
comment on column public.memories.id is 'UUIDv7 given by the producer; the primary key is what makes a record land exactly once.';
comment on column public.memories.user_id is 'Whose record it is. Row Level Security lets a signed-in user read rows where this equals auth.uid().';
comment on column public.memories.context_id is 'The conversation.';
comment on column public.memories.tokens is
  '{"encoding","user":[…],"assistant":[…]} for a turn, {"encoding","text":[…]} for the rest; with encryption {"encoding","sealed","counts"}.';
comment on column public.memories.text_cache is
  'The text as JSON: an encrypted envelope (v1.<kid>.<iv>.<tag+ciphertext>), plain JSON or null, by MEMORY_TEXT_CACHE.';
comment on column public.memories.cid is 'IPFS CID of a pinned record; null until pinned.';
comment on column public.memories.created_at is 'When it was said, to the millisecond; with id it orders a conversation.';

-- Reads of a conversation, newest first or page by page, in (created_at, id) order.
create index memories_context_idx on public.memories (context_id, created_at, id);
-- Reads and erasure by user.
create index memories_user_idx on public.memories (user_id, created_at, id) where user_id is not null;
-- Looking a record up by its CID.
create index memories_cid_idx on public.memories (cid) where cid is not null;

create table public.memory_reflections (
  id          uuid primary key references public.memories (id) on delete cascade,
  context_id  text        not null,
  user_id     text,
  cid         text        not null,
  sha256      text        not null,
  signature   text        not null,
  signing_kid text        not null,
  signing_key text        not null,
  wrapped_key text,
  visibility  text        not null check (visibility in ('private', 'public')),
  source_ids  uuid[]      not null default '{}',
  pinned_at   timestamptz,
  created_at  timestamptz not null,
  check ((visibility = 'private') = (wrapped_key is not null))
);

comment on table public.memory_reflections is 'What it takes to verify a pinned reflection, and to read it while its key exists.';
comment on column public.memory_reflections.id is 'The record''s id in memories.';
comment on column public.memory_reflections.cid is 'CIDv1 computed before the upload and compared with what the IPFS node answered.';
comment on column public.memory_reflections.sha256 is
  'Hex digest: SHA-256 of the text when public, HMAC-SHA-256 of it under the reflection''s own key when private.';
comment on column public.memory_reflections.signature is 'Ed25519 over the canonical JSON of the document without its signature, base64url.';
comment on column public.memory_reflections.signing_kid is 'First 16 hex digits of the SHA-256 of the raw public key.';
comment on column public.memory_reflections.signing_key is 'The raw Ed25519 public key, base64url, so that old signatures stay verifiable.';
comment on column public.memory_reflections.wrapped_key is
  'A private reflection''s own AES-256 key, wrapped by a key of MEMORY_ENCRYPTION_KEYS. Without this row the copy on IPFS cannot be read.';
comment on column public.memory_reflections.source_ids is 'Ids of the turns the reflection came from.';
comment on column public.memory_reflections.pinned_at is 'When the IPFS node confirmed the pin; null until then.';

create index memory_reflections_context_idx on public.memory_reflections (context_id, created_at, id);
create index memory_reflections_cid_idx on public.memory_reflections (cid);

-- Least privilege: whatever default privileges gave, take back; then give what each role needs and no more.
revoke all on public.memories, public.memory_reflections from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.memories, public.memory_reflections to service_role;
grant select on public.memories to authenticated;
grant select (id, context_id, user_id, cid, sha256, signature, signing_kid, signing_key, visibility, source_ids, pinned_at, created_at)
  on public.memory_reflections to authenticated;

alter table public.memories enable row level security;
alter table public.memory_reflections enable row level security;

create policy "users read their own memories" on public.memories
  for select to authenticated using (user_id = (select auth.uid())::text);
create policy "users read their own reflections" on public.memory_reflections
  for select to authenticated using (user_id = (select auth.uid())::text);

-- Which migration of Mnemoq this database has; raised by every later migration. `mnemoq doctor` reads it.
create function public.mnemoq_schema_version() returns integer
language sql immutable
set search_path = ''
as $$ select 1 $$;

revoke all on function public.mnemoq_schema_version() from public, anon, authenticated;
grant execute on function public.mnemoq_schema_version() to service_role;
