import { z } from 'zod';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import { moment } from '../../shared/moments.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { portionsOf } from '../parts/portions.ts';
import { progressHandler } from '../parts/progress.ts';
import { inReadTime } from '../reading/reading.ts';

/** Conversations filled at once. Each of them takes a request to Supabase. */
const AT_ONCE = 8;
/**
 * Attempts to fill a conversation. A commit that comes meanwhile calls an attempt off. A read or a run that died while
 * it filled the conversation keeps others from it for ten seconds, of which each attempt waits two.
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
  /** How many conversations there are to look at. Some may come meanwhile. */
  total: number;
  /** How many of them were not cached, or not wholly. */
  filled: number;
  /** Records that Redis holds of all these conversations now, the newest of each, as many as it keeps. */
  records: number;
}

/**
 * Puts the newest records of every conversation back into Redis, as reads would do one conversation after the other.
 * With `from` only conversations with a record from that moment on are filled. Nothing else that Supabase has is lost
 * with Redis: ids that follow from idempotency keys, and the primary key, keep a repeated save from being stored twice.
 * It may run again, and while others work. Throws `redis_full` before Redis is full.
 */
export async function restoreCache(options: CacheRestorationOptions, parts: CallParts): Promise<CacheRestoration> {
  const { from: first, onProgress } = validate(cacheOptions, options, 'the options');
  // Before anything is counted: a Redis that is away or full is the first thing to tell.
  await inReadTime(parts.admission.admit(), parts);
  const total = await countConversations(first, parts);
  const result: CacheRestoration = { conversations: 0, total, filled: 0, records: 0 };
  for await (const page of conversations(first, parts)) {
    for (const portion of portionsOf(page, AT_ONCE)) {
      await inReadTime(parts.admission.admit(), parts);
      await Promise.all(portion.map((contextId) => fill(contextId, result, parts)));
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
