import { toMoment } from '../../shared/moments.ts';
import { z } from 'zod';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import { identifier } from '../../shared/identifiers.ts';
import { validate } from '../../shared/validate.ts';
import type { Page } from '../parts/page.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { inReadTime, scope } from './reading.ts';

const PAGE = 100;

export const conversationsOptions = scope.extend({
  prefix: identifier.optional(),
  cursor: identifier.optional(),
  limit: z.int().min(1).max(MAX_ROWS).optional(),
});
export type ConversationsOptions = z.input<typeof conversationsOptions>;

export interface Conversation {
  contextId: string;
  /** The time of its newest committed record; null when none is committed yet. */
  lastCreatedAt: string | null;
}

/**
 * The conversations whose id begins with a prefix, in the order of their ids, byte by byte. Those that are only in
 * Redis yet are among them.
 */
export async function listConversations(options: ConversationsOptions, parts: CallParts): Promise<Page<Conversation>> {
  const { prefix = '', cursor = '', limit = PAGE, userId } = validate(conversationsOptions, options, 'the options');
  return inReadTime(list({ prefix, after: cursor, limit }, userId, parts), parts);
}

/** Redis is read first, so a conversation that is committed in between is seen in one of the two. */
async function list(
  page: { prefix: string; after: string; limit: number },
  userId: string | undefined,
  { shortTerm, longTerm, reader }: CallParts,
): Promise<Page<Conversation>> {
  const uncommitted: string[] = [];
  for (const contextId of await shortTerm.uncommittedConversations(page.prefix)) {
    if (compareBytes(contextId, page.after) <= 0) continue;
    if (userId === undefined || (await reader.hasUncommitted(contextId, userId))) uncommitted.push(contextId);
  }
  const committed = await longTerm.questions.conversations(page, userId);
  const lastAt = new Map<string, string | null>(uncommitted.map((contextId) => [contextId, null]));
  for (const { context_id: contextId, last_at: at } of committed) lastAt.set(contextId, toMoment(at));
  const all = [...lastAt].map(([contextId, at]) => ({ contextId, lastCreatedAt: at }));
  const items = all.toSorted((a, b) => compareBytes(a.contextId, b.contextId)).slice(0, page.limit);
  const last = items.at(-1);
  return { items, nextCursor: last && items.length === page.limit ? last.contextId : null, complete: true };
}

/** Compares as the collation C of PostgreSQL does. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
