#!/bin/sh
# Gives a bare PostgreSQL what a hosted Supabase project has, then applies every migration it lacks, each in one
# transaction with its line in the history the Supabase CLI keeps too. Safe to run again.
# Argument: the folder with bootstrap.sql and migrations/. Environment: PGHOST, PGUSER, PGPASSWORD, PGDATABASE of a
# superuser, and POSTGREST_PASSWORD, which becomes the password of the role PostgREST logs in with.
set -eu
: "${POSTGREST_PASSWORD:?POSTGREST_PASSWORD is not set}"
cd "$1"

sql() {
  psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"
}

# "already exists, skipping" is what a second run expects.
export PGOPTIONS='--client-min-messages=warning'

sql --single-transaction --file=bootstrap.sql

# psql takes the password from its environment, so that it shows in no list of processes.
sql --single-transaction <<'SQL'
\getenv password POSTGREST_PASSWORD
alter role authenticator password :'password';
revoke all on database :"DBNAME" from public;
grant connect on database :"DBNAME" to authenticator;
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text primary key, name text);
SQL

for file in migrations/*.sql; do
  base=$(basename "$file" .sql)
  version=${base%%_*}
  name=${base#*_}
  case $version in
    '' | *[!0-9]*)
      echo "migrate: $file is not named <version>_<name>.sql" >&2
      exit 1
      ;;
  esac
  known=$(
    sql --set=version="$version" <<'SQL'
select count(*) from supabase_migrations.schema_migrations where version = :'version';
SQL
  )
  if [ "$known" != 0 ]; then
    echo "migrate: $base is there"
    continue
  fi
  sql --single-transaction --set=version="$version" --set=name="$name" --file="$file" --file=- <<'SQL'
insert into supabase_migrations.schema_migrations (version, name) values (:'version', :'name');
SQL
  echo "migrate: $base applied"
done

# A PostgREST that is running already learns of new tables and functions; one that is not reads them at start.
sql --command="notify pgrst, 'reload schema'"
