/** A Supabase the tests may use: its address and its keys. */
export interface SupabaseService {
  name: SupabaseName;
  url: string;
  serviceKey: string;
  anonKey: string;
  /** Signs users' tokens. */
  jwtSecret: string;
}

/** PostgREST on a PostgreSQL, as in production, and the embedded Supabase of `mnemoq dev`, which is PostgreSQL inside Node. */
export type SupabaseName = 'embedded' | 'postgrest';

/**
 * The Supabase that all test files run on, but those that ask for one by its name. It is PostgREST; what the embedded one
 * has to do as well stands in test/stores/supabase-contract.test.ts. `MNEMOQ_TEST_SUPABASE=embedded` runs everything there.
 */
export const CHOSEN_SUPABASE = chosenSupabase();

function chosenSupabase(): SupabaseName {
  const name = process.env['MNEMOQ_TEST_SUPABASE'] || 'postgrest';
  if (name === 'embedded' || name === 'postgrest') return name;
  throw new Error('MNEMOQ_TEST_SUPABASE: expected embedded or postgrest');
}

/** One that runs for all test files. */
export function supabaseService(name: SupabaseName = CHOSEN_SUPABASE): SupabaseService {
  const services = JSON.parse(process.env['MNEMOQ_TEST_SERVICES'] ?? '[]') as SupabaseService[];
  const service = services.find((each) => each.name === name);
  if (!service) throw new Error(`no Supabase named ${name}: tests run through npm test or npm run jest`);
  return service;
}
