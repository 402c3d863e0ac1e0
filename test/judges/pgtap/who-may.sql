-- Who may read and write what, asked by pgTAP after all files of supabase/ have been applied. Each row of an answer is a line of
-- the Test Anything Protocol.
select no_plan();

-- The rows of two users, and one that belongs to nobody.
insert into public.memories (id, user_id, context_id, tokens, module, created_at) values
  ('00000000-0000-7000-8000-00000000000a', '0000000a-0000-4000-8000-000000000000', 'talk', '{}', 'reflection', now()),
  ('00000000-0000-7000-8000-00000000000b', '0000000b-0000-4000-8000-000000000000', 'talk', '{}', 'reflection', now()),
  ('00000000-0000-7000-8000-00000000000c', null, 'talk', '{}', 'knowledge', now());
insert into public.memory_reflections
  (id, user_id, context_id, cid, sha256, signature, signing_kid, signing_key, visibility, wrapped_key, created_at)
  select id, user_id, context_id, 'cid', 'sha', 'sig', 'kid', 'key', 'private', 'wrapped', created_at from public.memories;

-- Tables and their policies.
select tables_are('public', array['memories', 'memory_reflections'], 'no other table than the two');
select ok(relrowsecurity, 'row level security is on for ' || relname)
  from pg_class where oid in ('public.memories'::regclass, 'public.memory_reflections'::regclass);
select policies_are('public', 'memories', array['users read their own memories']);
select policies_are('public', 'memory_reflections', array['users read their own reflections']);
select policy_cmd_is('public', 'memories', 'users read their own memories'::name, 'select');
select policy_cmd_is('public', 'memory_reflections', 'users read their own reflections'::name, 'select');
select policy_roles_are('public', 'memories', 'users read their own memories', array['authenticated']);
select policy_roles_are('public', 'memory_reflections', 'users read their own reflections', array['authenticated']);

-- Rights on tables: every role but the owner.
select table_privs_are('public', 'memories', 'anon', '{}'::name[]);
select table_privs_are('public', 'memory_reflections', 'anon', '{}'::name[]);
select any_column_privs_are('public', 'memories', 'anon', '{}'::name[]);
select any_column_privs_are('public', 'memory_reflections', 'anon', '{}'::name[]);
select table_privs_are('public', 'memories', 'authenticated', array['SELECT']);
select table_privs_are('public', 'memory_reflections', 'authenticated', '{}'::name[]);
select any_column_privs_are('public', 'memory_reflections', 'authenticated', array['SELECT']);
select column_privs_are('public', 'memory_reflections', 'wrapped_key', 'authenticated', '{}'::name[]);
select table_privs_are('public', 'memories', 'service_role', array['SELECT', 'INSERT', 'UPDATE', 'DELETE']);
select table_privs_are('public', 'memory_reflections', 'service_role', array['SELECT', 'INSERT', 'UPDATE', 'DELETE']);

-- Rights on functions: each that is there, so that a new one cannot be forgotten.
select ok(not has_function_privilege(role, p.oid, 'execute'), role || ' may not call ' || p.oid::regprocedure)
  from pg_proc p, unnest(array['anon', 'authenticated']) role where p.pronamespace = 'public'::regnamespace;
select ok(has_function_privilege('service_role', oid, 'execute'), 'service_role may call ' || oid::regprocedure)
  from pg_proc where pronamespace = 'public'::regnamespace;
select ok(not prosecdef, oid::regprocedure || ' runs with the rights of its caller')
  from pg_proc where pronamespace = 'public'::regnamespace;

-- What a signed-in user sees and does.
set local role authenticated;
set local "request.jwt.claims" to '{"role":"authenticated","sub":"0000000a-0000-4000-8000-000000000000"}';
select results_eq('select id from public.memories', array['00000000-0000-7000-8000-00000000000a'::uuid],
  'a user reads their own memories and no others');
select results_eq('select id from public.memory_reflections', array['00000000-0000-7000-8000-00000000000a'::uuid],
  'a user reads their own reflections and no others');
select throws_ok('select wrapped_key from public.memory_reflections', '42501', null, 'a user reads no wrapped key');
select throws_ok('select * from public.memory_reflections', '42501', null, 'nor all columns of a reflection');
select throws_ok('delete from public.memories', '42501', null, 'a user deletes nothing');
select throws_ok('update public.memories set cid = null', '42501', null, 'a user changes nothing');
select throws_ok(
  $$insert into public.memories (id, user_id, context_id, tokens, module, created_at)
    values (gen_random_uuid(), '0000000a-0000-4000-8000-000000000000', 'talk', '{}', 'chat', now())$$,
  '42501', null, 'a user writes nothing, not even in their own name');
select throws_ok('truncate public.memories cascade', '42501', null, 'a user empties nothing');

-- Tokens that name nobody.
set local "request.jwt.claims" to '{"role":"authenticated"}';
select is_empty('select id from public.memories', 'a token without a user sees nothing, and not the row of nobody');
set local "request.jwt.claims" to '';
select is_empty('select id from public.memories', 'no claims at all: the same');

set local role anon;
select throws_ok('select id from public.memories', '42501', null, 'anon reads no memories');
select throws_ok('select id from public.memory_reflections', '42501', null, 'anon reads no reflections');
select throws_ok('select public.mnemoq_schema_version()', '42501', null, 'anon calls nothing');

set local role service_role;
select results_eq('select count(*) from public.memories', array[3::bigint], 'service_role reads all rows');

reset role;
select * from finish();
