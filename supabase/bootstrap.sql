-- What a hosted Supabase project already has and a bare PostgreSQL does not: the three roles of the API, the role
-- PostgREST logs in with, and auth.uid(). A superuser runs it once, before the migrations. docker compose and `mnemoq dev`
-- do it by themselves. It is never needed on hosted Supabase, and it is safe to run again.
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -1 -f supabase/bootstrap.sql

do $$
begin
  if not exists (select from pg_roles where rolname = 'anon') then
    create role anon nologin noinherit;
  end if;
  if not exists (select from pg_roles where rolname = 'authenticated') then
    create role authenticated nologin noinherit;
  end if;
  if not exists (select from pg_roles where rolname = 'service_role') then
    create role service_role nologin noinherit bypassrls;
  end if;
  -- No password here: whoever runs PostgREST sets one (compose does, from POSTGREST_PASSWORD).
  if not exists (select from pg_roles where rolname = 'authenticator') then
    create role authenticator login noinherit;
  end if;
end
$$;

grant anon, authenticated, service_role to authenticator;
grant usage on schema public to anon, authenticated, service_role;

create schema if not exists auth;
grant usage on schema auth to anon, authenticated, service_role;

-- The signed-in user's id out of the request's JWT, as PostgREST hands it over.
create or replace function auth.uid() returns uuid
language sql stable
as $$
  select nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid
$$;
