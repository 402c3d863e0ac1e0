/**
 * **shared/long-term/**: everything that is kept in Supabase: queries, and what a failed answer means. No other folder
 * asks Supabase.
 */
import type { PostgrestError, SupabaseClient } from '@supabase/supabase-js';
import { isError, MnemoqError } from '../errors.ts';
import {
  byPosition,
  fromRow,
  type MemoryRecord,
  type MemoryRow,
  type Module,
  type PinnedModule,
  toRow,
  type Visibility,
} from '../records/records.ts';
import { before, connectSupabase, inOrder, type RowsQuery, type SupabaseConfig } from './supabase.ts';

/**
 * What `mnemoq_schema_version()` must answer, or more. Raise it when Mnemoq needs something of the database that the released
 * schema does not have: with a new file in supabase/migrations, whose last statement makes the function answer the new number.
 */
export const SCHEMA_VERSION = 1;

/** Files that a person is told to apply. */
export const SCHEMA_FILE = 'supabase/migrations/20261128000000_mnemoq.sql';
export const SEARCH_FILE = 'supabase/migrations/20261128000001_search.sql';

/** Most rows asked for at once: hosted Supabase cuts answers at 1000 (`max-rows`). */
export const MAX_ROWS = 1000;

/** Why a write did not happen. Only `refused` is the row's own fault; the rest is the service's and is tried again. */
export type FailureKind = 'refused' | 'outage' | 'auth' | 'schema';

export interface Failure {
  kind: FailureKind;
  /** SQLSTATE, PostgREST code or HTTP status. */
  code: string;
  message: string;
}

/** The end of one write: committed, with the ids that had no row before, or not. */
export type CommitResult = { failure: null; inserted: ReadonlySet<string> } | { failure: Failure };

/** A row of `memory_reflections`. */
export interface ReflectionRow {
  id: string;
  context_id: string;
  user_id: string | null;
  module: PinnedModule;
  cid: string;
  sha256: string;
  signature: string;
  signing_kid: string;
  signing_key: string;
  wrapped_key: string | null;
  visibility: Visibility;
  source_ids: string[];
  /** Of the newest earlier record of the same module, conversation and user; null where there was none. */
  previous_cid: string | null;
  pinned_at: string | null;
  created_at: string;
}

/** Which records; what is undefined is not looked at. */
export interface RecordFilter {
  module?: Module | undefined;
  userId?: string | undefined;
  contextId?: string | undefined;
  /** From this moment on, and before that one. */
  from?: string | undefined;
  to?: string | undefined;
}

/** Which rows of `memory_reflections`; what is undefined is not looked at. */
export interface ReflectionFilter extends Omit<RecordFilter, 'module'> {
  module?: PinnedModule | undefined;
  cid?: string | undefined;
}

/** What a record is, without what it says. */
export type RecordHead = Pick<MemoryRecord, 'id' | 'contextId' | 'userId' | 'module' | 'createdAt'>;

export interface ConversationRow {
  context_id: string;
  last_at: string;
}

type TrendBucket = 'hour' | 'day' | 'week';

export interface TrendQuestion {
  userId?: string | undefined;
  contextId?: string | undefined;
  from: string;
  to: string;
  bucket: TrendBucket;
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
  /** One tsquery a term. */
  terms: string[];
  /** Of the encodings that the terms are in. */
  letters: string[];
  limit: number;
}

/** What a search has to go by, and records that may be what is looked for, the likeliest first. */
export interface SearchAnswer {
  /** Records in the scope, up to 100,000. */
  total: number;
  /** In tokens. */
  meanLength: number;
  /** How many records have each term. */
  frequencies: number[];
  /** Records whose tokens are encrypted, up to 1000. */
  sealed: number;
  /** Of encodings that records have and the question had not. */
  letters: string[];
  records: MemoryRecord[];
}

interface Answer<T> {
  data: T | null;
  error: PostgrestError | null;
  status: number;
}

/** Every record, for ever, in Supabase, through supabase-js. */
export class LongTerm {
  readonly #client: SupabaseClient;
  readonly #memories: string;
  readonly #reflections: string;

  constructor(config: SupabaseConfig) {
    this.#client = connectSupabase(config);
    this.#memories = config.memoriesTable;
    this.#reflections = config.reflectionsTable;
  }

  /** Inserts records in one request; those whose id has a row already are left as they are. */
  async insert(records: readonly MemoryRecord[]): Promise<CommitResult> {
    const { data, error, status } = await this.#client
      .from(this.#memories)
      .upsert(records.map(toRow), { onConflict: 'id', ignoreDuplicates: true })
      .select('id');
    if (error) return { failure: classifyLongTermError(error, status) };
    return { failure: null, inserted: new Set(data.map(({ id }) => id as string)) };
  }

  /** The newest records of a conversation, or of one user in it, oldest first. */
  async recent(contextId: string, limit: number, userId?: string): Promise<MemoryRecord[]> {
    const rows = unwrap(
      await this.#conversation(contextId, userId)
        .order('created_at', { ascending: false })
        .order('id', { ascending: false })
        .limit(limit),
      'reading a conversation',
    );
    return (rows as MemoryRow[]).map(fromRow).toSorted(byPosition);
  }

  /** Records of a conversation, or of one user in it, after a position, or from its beginning, oldest first. */
  async after(contextId: string, position: string | null, limit: number, userId?: string): Promise<MemoryRecord[]> {
    const query = this.#conversation(contextId, userId);
    const rows = unwrap(await inOrder(query, position, limit), 'reading a conversation');
    return (rows as MemoryRow[]).map(fromRow);
  }

  /** How many records a filter lets through. */
  async count(filter: RecordFilter): Promise<number> {
    const answer = await this.#filtered(filter, 'id', { count: 'exact', head: true });
    return unwrap({ ...answer, data: answer.count }, 'counting records');
  }

  /**
   * Records of all conversations that a filter lets through, after a position, oldest first, without their text caches:
   * at most `limit`, and no more than about `maxTokens` tokens unless a single one has more. Empty after the last one.
   */
  async scan(filter: RecordFilter, position: string | null, limit: number, maxTokens: number): Promise<MemoryRecord[]> {
    // From an index alone: what the rows hold may be megabytes each.
    const counts = await inOrder(this.#filtered(filter, 'user_tokens,assistant_tokens,text_tokens'), position, limit);
    const fitting = withinTokens(unwrap(counts, 'reading records') as unknown as TokenCounts[], maxTokens);
    if (fitting === 0) return [];
    const columns = 'id,user_id,context_id,tokens,module,cid,created_at';
    const rows = unwrap(await inOrder(this.#filtered(filter, columns), position, fitting), 'reading records');
    return (rows as unknown as Omit<MemoryRow, 'text_cache'>[]).map((row) => fromRow({ ...row, text_cache: null }));
  }

  async findMany(ids: readonly string[]): Promise<MemoryRecord[]> {
    const rows = unwrap(await this.#client.from(this.#memories).select('*').in('id', ids), 'reading records');
    return (rows as MemoryRow[]).map(fromRow);
  }

  /** Conversations by id, those after `after`, with the time of the newest record the reader may see. */
  async conversations(
    { prefix, after, limit }: { prefix: string; after: string; limit: number },
    userId?: string,
  ): Promise<ConversationRow[]> {
    const page = { p_prefix: prefix, p_after: after, p_limit: limit };
    const answer =
      userId === undefined
        ? await this.#client.rpc('mnemoq_conversations', page)
        : await this.#client.rpc('mnemoq_user_conversations', { p_user: userId, ...page });
    return unwrap(answer as Answer<ConversationRow[]>, 'listing conversations');
  }

  /** One row per hour, day or week in which there is a record. */
  async trends(question: TrendQuestion): Promise<TrendRow[]> {
    const answer = await this.#client.rpc('mnemoq_trends', {
      p_user: question.userId ?? null,
      p_context: question.contextId ?? null,
      p_from: question.from,
      p_to: question.to,
      p_bucket: question.bucket,
      p_tz: question.timeZone,
    });
    return unwrap(answer as Answer<TrendRow[]>, 'computing trends');
  }

  /** Throws `invalid_configuration` where the database lacks the optional search file. */
  async search({ userId, contextId, terms, letters, limit }: SearchQuestion): Promise<SearchAnswer> {
    const answer = await this.#client.rpc('mnemoq_search', {
      p_user: userId ?? null,
      p_context: contextId ?? null,
      p_terms: terms,
      p_letters: letters,
      p_limit: limit,
    });
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

  #filtered(
    { module, userId, contextId, from, to }: RecordFilter,
    columns: string,
    options: { count?: 'exact'; head?: boolean } = {},
  ): RowsQuery {
    let query: RowsQuery = this.#client.from(this.#memories).select<string, unknown>(columns, options);
    if (module !== undefined) query = query.eq('module', module);
    if (userId !== undefined) query = query.eq('user_id', userId);
    if (contextId !== undefined) query = query.eq('context_id', contextId);
    if (from !== undefined) query = query.gte('created_at', from);
    return to === undefined ? query : query.lt('created_at', to);
  }

  #conversation(contextId: string, userId: string | undefined) {
    const everybodys = this.#client.from(this.#memories).select('*').eq('context_id', contextId);
    return userId === undefined ? everybodys : everybodys.eq('user_id', userId);
  }

  async find(id: string): Promise<MemoryRecord | null> {
    const [row] = unwrap(await this.#client.from(this.#memories).select('*').eq('id', id), 'reading a record');
    return row ? fromRow(row as MemoryRow) : null;
  }

  /** Keeps what is needed to verify and read a reflection, before it is pinned; an existing row wins and is returned. */
  async addReflection(row: ReflectionRow): Promise<ReflectionRow> {
    const inserted = await this.#client
      .from(this.#reflections)
      .upsert(row, { onConflict: 'id', ignoreDuplicates: true })
      .select('*');
    const [created] = unwrap(inserted, 'keeping a reflection');
    return (created as ReflectionRow | undefined) ?? ((await this.findReflection({ id: row.id })) as ReflectionRow);
  }

  async findReflection(by: { id: string } | { cid: string }): Promise<ReflectionRow | null> {
    const [column, value] = Object.entries(by)[0] as [string, string];
    const answer = await this.#client.from(this.#reflections).select('*').eq(column, value).limit(1);
    return (unwrap(answer, 'reading a reflection')[0] as ReflectionRow | undefined) ?? null;
  }

  /**
   * Writes a pinned reflection back: its CID and when that was. The row with `pinned_at` comes last: where that stands, all is
   * written. The wrapped key is left alone: it may have been sealed with another key meanwhile.
   */
  async setPinned({ id, cid, pinned_at }: Pick<ReflectionRow, 'id' | 'cid' | 'pinned_at'>): Promise<void> {
    const memory = await this.#client.from(this.#memories).update({ cid }).eq('id', id).select('id');
    unwrap(memory, 'writing a CID back');
    const row = await this.#client.from(this.#reflections).update({ cid, pinned_at }).eq('id', id).select('id');
    unwrap(row, 'writing a CID back');
  }

  /** Of one module, conversation and user: the newest before a position. */
  async previousReflection(
    of: Pick<ReflectionRow, 'module' | 'context_id' | 'user_id'>,
    position: string,
  ): Promise<ReflectionRow | null> {
    const chain = this.#pinned(of.module).eq('context_id', of.context_id);
    const ofUser = of.user_id === null ? chain.is('user_id', null) : chain.eq('user_id', of.user_id);
    const [previous] = await newestFirst(before(position, ofUser), 1);
    return previous ?? null;
  }

  /** Of all modules, conversations and users that a filter lets through, those before a position, newest first. */
  async listReflections(filter: ReflectionFilter, position: string | null, limit: number): Promise<ReflectionRow[]> {
    let query = this.#client.from(this.#reflections).select('*');
    if (filter.module !== undefined) query = query.eq('module', filter.module);
    if (filter.userId !== undefined) query = query.eq('user_id', filter.userId);
    if (filter.contextId !== undefined) query = query.eq('context_id', filter.contextId);
    if (filter.cid !== undefined) query = query.eq('cid', filter.cid);
    if (filter.from !== undefined) query = query.gte('created_at', filter.from);
    if (filter.to !== undefined) query = query.lt('created_at', filter.to);
    return newestFirst(before(position, query), limit);
  }

  /** Which of some CIDs have a row. */
  async knownCids(cids: readonly string[]): Promise<string[]> {
    const rows = unwrap(
      await this.#client.from(this.#reflections).select('cid').in('cid', cids),
      'reading reflections',
    );
    return rows.map(({ cid }) => cid as string);
  }

  /** Whose records these are, and when they were made, without their tokens. */
  async headsOf(ids: readonly string[]): Promise<RecordHead[]> {
    const columns = 'id, user_id, context_id, module, created_at';
    const rows = unwrap(await this.#client.from(this.#memories).select(columns).in('id', ids), 'reading records');
    return rows.map((row) => ({
      id: row.id as string,
      userId: row.user_id as string | null,
      contextId: row.context_id as string,
      module: row.module as Module,
      createdAt: new Date(row.created_at as string).toISOString(),
    }));
  }

  /** Pinned knowledge before a position, newest first; with a user his and what belongs to nobody. */
  async knowledge(position: string | null, limit: number, userId?: string): Promise<ReflectionRow[]> {
    let query = this.#pinned('knowledge').not('pinned_at', 'is', null);
    if (userId !== undefined) query = query.or(`user_id.is.null,user_id.eq.${quoted(userId)}`);
    return newestFirst(before(position, query), limit);
  }

  #pinned(module: PinnedModule) {
    return this.#client.from(this.#reflections).select('*').eq('module', module);
  }

  /** Some rows of `memory_reflections` within a scope. */
  async pinnedWithin(scope: Scope, limit: number): Promise<ReflectionRow[]> {
    const query = within(this.#client.from(this.#reflections).select('*'), scope);
    return unwrap(await query.limit(limit), 'reading reflections') as ReflectionRow[];
  }

  /** Rows of `memory_reflections` within a scope in the order of their ids, after one or from the first on. */
  async pinnedAfter(scope: Scope, after: string | null, limit: number): Promise<ReflectionRow[]> {
    const all = within(this.#client.from(this.#reflections).select('*'), scope);
    const rest = after === null ? all : all.gt('id', after);
    return unwrap(await rest.order('id').limit(limit), 'reading reflections') as ReflectionRow[];
  }

  async countPinned(scope: Scope): Promise<number> {
    const all = this.#client.from(this.#reflections).select('*', { count: 'exact', head: true });
    const answer = await within(all, scope);
    return unwrap({ ...answer, data: answer.count }, 'counting reflections');
  }

  /** Ids of some records within a scope. */
  async idsWithin(scope: Scope, limit: number): Promise<string[]> {
    const query = within(this.#client.from(this.#memories).select('id'), scope);
    return (unwrap(await query.limit(limit), 'reading records') as { id: string }[]).map(({ id }) => id);
  }

  /** Deletes records, with what belongs to them in `memory_reflections`; says how many there were. */
  async remove(ids: readonly string[]): Promise<number> {
    const removed = await this.#client.from(this.#memories).delete().in('id', ids).select('id');
    return unwrap(removed, 'deleting records').length;
  }

  /** Which migration the database has; throws when it cannot say, as when there is none. */
  async schemaVersion(): Promise<number> {
    return unwrap((await this.#client.rpc('mnemoq_schema_version')) as Answer<number>, 'reading the schema version');
  }

  /** Throws unless both tables answer. */
  async check(): Promise<void> {
    for (const table of [this.#memories, this.#reflections]) {
      unwrap(await this.#client.from(table).select('id').limit(1), `reading ${table}`);
    }
  }
}

interface TokenCounts {
  user_tokens: number;
  assistant_tokens: number;
  text_tokens: number;
}

/** How many rows, from the first on, have at most so many tokens together; one where the first alone has more. */
function withinTokens(rows: readonly TokenCounts[], maxTokens: number): number {
  let sum = 0;
  const beyond = rows.findIndex((row) => (sum += row.user_tokens + row.assistant_tokens + row.text_tokens) > maxTokens);
  return beyond === -1 ? rows.length : Math.max(1, beyond);
}

async function newestFirst(query: RowsQuery, limit: number): Promise<ReflectionRow[]> {
  const newest = query.order('created_at', { ascending: false }).order('id', { ascending: false });
  return unwrap(await newest.limit(limit), 'reading reflections') as ReflectionRow[];
}

/** Whose rows; all without either. */
type Scope = Pick<RecordFilter, 'userId' | 'contextId'>;

function within(query: RowsQuery, { userId, contextId }: Scope): RowsQuery {
  const users = userId === undefined ? query : query.eq('user_id', userId);
  return contextId === undefined ? users : users.eq('context_id', contextId);
}

/** A value within an `or`, where commas and parentheses would end it. */
function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&')}"`;
}

/** Throws `long_term_unavailable` with what a failed answer means. */
export function unwrap<T>({ data, error, status }: Answer<T>, doing: string): T {
  if (!error && data !== null) return data;
  const { kind, code, message } = classifyLongTermError(error, status);
  throw new MnemoqError('long_term_unavailable', `${doing} failed: ${WORDS[kind]} (${code}: ${message})`);
}

const WORDS: Record<FailureKind, string> = {
  refused: 'Supabase refused the data',
  outage: 'Supabase does not answer as it should',
  auth: 'Supabase refused the key: check SUPABASE_SERVICE_ROLE_KEY',
  schema: 'a table or column is missing: apply supabase/migrations (mnemoq doctor tells more)',
};

const NO_SEARCH = `search is not installed in this database: apply ${SEARCH_FILE} (it is optional, nothing else needs it)`;

/** PostgREST does not know the function (PGRST202), or it is gone since PostgREST read the schema (42883). */
function isMissingFunction(error: PostgrestError | null): boolean {
  return error?.code === 'PGRST202' || error?.code === '42883';
}

/**
 * What a failed answer means. Only code and message are kept: `details` may quote the whole failing row.
 * Data errors are SQLSTATE classes 22 (data exception) and 23 (integrity constraint), and
 * 54000 (a value too large for an index row); everything unknown is an outage, so that no row is blamed for it.
 */
export function classifyLongTermError(error: PostgrestError | null, status: number): Failure {
  const code = error?.code || (status ? `HTTP ${status}` : 'no answer');
  const message = (error?.message ?? 'an answer without data').slice(0, 300);
  return { kind: kindOf(error?.code ?? '', status), code, message };
}

function kindOf(code: string, status: number): FailureKind {
  if (isOutage(status)) return 'outage';
  // 22023 is a JWT with a role that the database does not have; no value in a row causes it.
  if (status === 401 || status === 403 || /^(42501|22023|PGRST3.*)$/.test(code)) return 'auth';
  if (/^(22|23)...$|^54000$/.test(code) || status === 413) return 'refused';
  if (code.startsWith('42') || code.startsWith('PGRST2') || status === 404) return 'schema';
  return 'outage';
}

function isOutage(status: number): boolean {
  return status === 0 || status >= 500 || status === 408 || status === 429;
}
