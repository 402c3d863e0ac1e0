import { z } from 'zod';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import { moment } from '../../shared/moments.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { progressHandler } from '../parts/progress.ts';
import { inReadTime } from '../reading/reading.ts';

/** Conversations filled at once: each is a request to Supabase. */
const AT_ONCE = 8;
/**
 * A commit while a conversation is filled calls that off; and a read or a run that died meanwhile keeps others from filling it
 * for ten seconds, of which each attempt waits two.
 */
const ATTEMPTS = 7;

/** Exported because docs/calls.md is made from it. @public */
export const cacheOptions = z.strictObject({
  from: moment.optional(),
  onProgress: progressHandler<CacheRestoration>().optional(),
});
export type CacheRestorationOptions = z.input<typeof cacheOptions>;

/** How many conversations were looked at, and what of them Redis holds now. */
export interface CacheRestoration {
  conversations: number;
  /** How many there are to look at: some may come meanwhile. */
  total: number;
  /** Those that were not cached, or not wholly. */
  filled: number;
  /** The newest of all of them, as many of each as it keeps. */
  records: number;
}

/**
 * Puts the newest records of every conversation back into Redis, as reads would do one by one; with `from` of those that
 * have a record from then on. Nothing else is lost with Redis that Supabase has: ids that follow from idempotency keys, and
 * the primary key, keep repeated saves from being stored twice. May run while others work, and again. Throws `redis_full`
 * before Redis is.
 */
export async function restoreCache(options: CacheRestorationOptions, parts: CallParts): Promise<CacheRestoration> {
  const { from: first, onProgress } = validate(cacheOptions, options, 'the options');
  const total = await countConversations(first, parts);
  const result: CacheRestoration = { conversations: 0, total, filled: 0, records: 0 };
  for await (const page of conversations(first, parts)) {
    for (let from = 0; from < page.length; from += AT_ONCE) {
      await inReadTime(parts.admission.admit(), parts);
      await Promise.all(page.slice(from, from + AT_ONCE).map((contextId) => fill(contextId, result, parts)));
      result.total = Math.max(total, result.conversations);
      onProgress?.({ ...result });
    }
  }
  return result;
}

async function countConversations(first: string | undefined, parts: CallParts): Promise<number> {
  let count = 0;
  for await (const page of conversations(first, parts)) count += page.length;
  return count;
}

async function* conversations(first: string | undefined, parts: CallParts): AsyncGenerator<string[]> {
  let after = '';
  for (;;) {
    const page = await inReadTime(
      parts.longTerm.questions.conversations({ prefix: '', after, limit: MAX_ROWS }),
      parts,
    );
    const last = page.at(-1);
    if (!last) return;
    const active = page.filter(({ last_at }) => first === undefined || Date.parse(last_at) >= Date.parse(first));
    yield active.map(({ context_id }) => context_id);
    after = last.context_id;
  }
}

async function fill(contextId: string, result: CacheRestoration, parts: CallParts): Promise<void> {
  const { shortTerm, reader } = parts;
  const limit = shortTerm.limit;
  const cached = async () => inReadTime(shortTerm.recent(contextId, limit), parts);
  let now = await cached();
  result.conversations += 1;
  if (!now.isWhole) result.filled += 1;
  for (let attempt = 0; attempt < ATTEMPTS && !now.isWhole; attempt += 1) {
    await inReadTime(reader.recent({ contextId, limit, userId: undefined, allowPartial: false }), parts);
    now = await cached();
  }
  result.records += now.records.length;
}
