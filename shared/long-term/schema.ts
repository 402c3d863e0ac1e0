/**
 * What `mnemoq_schema_version()` must answer, or more. Raise it when Mnemoq needs something of the database that the released
 * schema does not have: with a new file in supabase/migrations, whose last statement makes the function answer the new number.
 */
export const SCHEMA_VERSION = 1;

/** The files that a person is told to apply. */
export const SCHEMA_FILE = 'supabase/migrations/20261128000000_mnemoq.sql';
export const SEARCH_FILE = 'supabase/migrations/20261128000001_search.sql';
