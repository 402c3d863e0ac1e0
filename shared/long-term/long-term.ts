/**
 * **shared/long-term/**: everything that is kept in Supabase: the rows of both tables, the questions the database answers
 * by itself, and what a failed answer means. No other folder asks Supabase.
 */
import { type Answer, unwrap } from './errors.ts';
import { Memories } from './memories.ts';
import { Questions } from './questions.ts';
import { Reflections } from './reflections.ts';
import { SealedRows } from './sealed-rows.ts';
import { connectSupabase, type SupabaseConfig } from './table.ts';

/** The most rows that are asked for at once, because hosted Supabase cuts answers at 1000 (`max-rows`). */
export const MAX_ROWS = 1000;

/** Every record, for ever, in Supabase, through one supabase-js client. */
export interface LongTerm {
  memories: Memories;
  reflections: Reflections;
  questions: Questions;
  sealedRows: SealedRows;
  /** Throws `supabase_unavailable` unless both tables answer. */
  check(): Promise<void>;
  /** Which migration the database has. Throws when it cannot say, as when there is none. */
  schemaVersion(): Promise<number>;
}

export function connectLongTerm(config: SupabaseConfig): LongTerm {
  const client = connectSupabase(config);
  const { memoriesTable, reflectionsTable } = config;
  return {
    memories: new Memories(client, memoriesTable),
    reflections: new Reflections(client, reflectionsTable, memoriesTable),
    questions: new Questions(client),
    sealedRows: new SealedRows(client, memoriesTable, reflectionsTable),
    check: async () => {
      for (const table of [memoriesTable, reflectionsTable]) {
        unwrap(await client.from(table).select('id').limit(1), `reading ${table}`);
      }
    },
    schemaVersion: async () =>
      unwrap((await client.rpc('mnemoq_schema_version')) as Answer<number>, 'reading the schema version'),
  };
}
