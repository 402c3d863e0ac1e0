import type { SupabaseClient } from '@supabase/supabase-js';
import { isError, MnemoqError } from '../errors.ts';
import { fromRow, type MemoryRecord, type MemoryRow } from '../records/records.ts';
import { type Answer, isMissingFunction, unwrap } from './errors.ts';
import { SEARCH_FILE } from './schema.ts';

export interface ConversationRow {
  context_id: string;
  /** The time of the newest record that the reader may see. */
  last_at: string;
}

type BucketLength = 'hour' | 'day' | 'week';

export interface TrendQuestion {
  userId?: string | undefined;
  contextId?: string | undefined;
  from: string;
  to: string;
  bucket: BucketLength;
  timeZone: string;
}

export interface TrendRow {
  start: string;
  turns: number;
  user_tokens: number;
  assistant_tokens: number;
  reflections: number;
  reflection_tokens: number;
  mean_gap_seconds: number | null;
}

export interface SearchQuestion {
  userId?: string | undefined;
  contextId?: string | undefined;
  /** One tsquery for each term. */
  terms: string[];
  /** The letters of the encodings that the terms are in. */
  letters: string[];
  limit: number;
}

/** The figures by which a search judges, and records that may be what is looked for, the likeliest first. */
export interface SearchAnswer {
  /** How many records the scope has, counted up to 100,000. */
  total: number;
  /** The mean length of a record, in tokens. */
  meanLength: number;
  /** How many records have each term. */
  frequencies: number[];
  /** How many records have encrypted tokens, counted up to 1000. */
  sealed: number;
  /** The letters of encodings that records have and the question had not. */
  letters: string[];
  records: MemoryRecord[];
}

const NO_SEARCH = `search is not installed in this database: apply ${SEARCH_FILE} (it is optional, nothing else needs it)`;

/** What the SQL functions of the migrations answer about many records at once. */
export class Questions {
  readonly #client: SupabaseClient;

  constructor(client: SupabaseClient) {
    this.#client = client;
  }

  /** Conversations in the order of their ids, those after `after`; with a user those in which that user has a record. */
  async conversations(
    { prefix, after, limit }: { prefix: string; after: string; limit: number },
    userId?: string,
  ): Promise<ConversationRow[]> {
    const page = { p_prefix: prefix, p_after: after, p_limit: limit };
    return userId === undefined
      ? this.#ask('mnemoq_conversations', page, 'listing conversations')
      : this.#ask('mnemoq_user_conversations', { p_user: userId, ...page }, 'listing conversations');
  }

  /** One row for each hour, day or week in which there is a record. */
  async trends(question: TrendQuestion): Promise<TrendRow[]> {
    const { userId, contextId, from, to, bucket, timeZone } = question;
    const parameters = { ...scopeOf({ userId, contextId }), p_from: from, p_to: to, p_bucket: bucket, p_tz: timeZone };
    return this.#ask('mnemoq_trends', parameters, 'computing trends');
  }

  /** Throws `invalid_configuration` where the database lacks the optional search file. */
  async search({ terms, letters, limit, ...scope }: SearchQuestion): Promise<SearchAnswer> {
    const parameters = { ...scopeOf(scope), p_terms: terms, p_letters: letters, p_limit: limit };
    const answer = await this.#client.rpc('mnemoq_search', parameters);
    if (isMissingFunction(answer.error)) throw new MnemoqError('invalid_configuration', NO_SEARCH);
    const found = unwrap(answer as Answer<Omit<SearchAnswer, 'records'> & { rows: MemoryRow[] }>, 'searching');
    const { rows, ...figures } = found;
    return { ...figures, records: rows.map(fromRow) };
  }

  /** Whether the database has the search file. It is asked for a conversation that cannot be there. */
  async canSearch(): Promise<boolean> {
    try {
      await this.search({ contextId: '', terms: [], letters: [], limit: 1 });
      return true;
    } catch (error) {
      if (isError(error, 'invalid_configuration')) return false;
      throw error;
    }
  }

  async #ask<T>(sqlFunction: string, parameters: object, doing: string): Promise<T> {
    return unwrap((await this.#client.rpc(sqlFunction, parameters)) as Answer<T>, doing);
  }
}

/** The parameters by which a function looks at one user or one conversation alone. */
function scopeOf({ userId, contextId }: Pick<SearchQuestion, 'userId' | 'contextId'>) {
  return { p_user: userId ?? null, p_context: contextId ?? null };
}
