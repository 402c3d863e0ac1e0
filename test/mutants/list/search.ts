import type { Mutant } from './mutant.ts';

/** What a search finds, in which order, and what it may tell of others. */
export const SEARCH: readonly Mutant[] = [
  {
    name: 'search-sees-everybody',
    breaks: 'a search for one user finds no uncommitted record of another',
    file: 'producers/reading/uncommitted.ts',
    text: 'userId === undefined || record.userId === userId',
    instead: 'true',
    caughtBy: 'test/reading/search.test.ts',
    test: 'one user finds only what is his',
  },
  {
    name: 'search-of-everybody',
    breaks: 'a search for one user finds no committed record of another',
    file: 'supabase/migrations/20261128000001_search.sql',
    text: "case when p_user is null then '' else ' and m.user_id = $1' end",
    instead: "case when p_user is null then '' else ' and $1 is not null' end",
    caughtBy: 'test/reading/search.test.ts',
    test: 'one user finds only what is his',
  },
  {
    name: 'search-counts-everybody',
    breaks: "what others say moves none of a user's scores",
    file: 'supabase/migrations/20261128000001_search.sql',
    text: "'select count(*) from (select from public.memories m where true %s limit 100000) counted', scope",
    instead: "'select count(*) from (select from public.memories m where %L is not null limit 100000) counted', scope",
    caughtBy: 'test/reading/search.test.ts',
    test: 'one user finds only what is his',
  },
  {
    name: 'search-newest-first',
    breaks: 'what says most of a query comes first',
    file: 'producers/questions/search.ts',
    text: 'b.score - a.score || byPosition(',
    instead: 'byPosition(',
    caughtBy: 'test/reading/search.test.ts',
  },
  {
    name: 'search-without-phrases',
    breaks: 'what stands together in a query counts once more where it stands together',
    file: 'producers/questions/search.ts',
    text: 'score(each, statistics) + phraseScore(each, phrases, statistics)',
    instead: 'score(each, statistics) + 0 * phraseScore(each, phrases, statistics)',
    caughtBy: 'test/reading/search.test.ts',
    test: 'of records with the same words',
  },
];
