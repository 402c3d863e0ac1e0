import { z } from 'zod';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { identifier } from '../../shared/identifiers.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { portionsOf } from '../parts/portions.ts';
import { inReadTime } from '../reading/reading.ts';
import { type Verification, verifyCid, type VerifyParts, verifyParts } from './verify.ts';

/** Rows of one page. */
const PAGE = 200;
/** Reflections followed at once. Each of them waits for IPFS and Supabase more than it computes. */
const AT_ONCE = 8;

/** Exported because docs/calls.md is made from it. @public */
export const verifyAllOptions = z.strictObject({ userId: identifier.optional(), contextId: identifier.optional() });
export type VerifyAllOptions = z.input<typeof verifyAllOptions>;

/** What was found of one of the reflections. */
export interface VerifiedReflection extends Verification {
  id: string;
  contextId: string;
  /** False until the document is pinned. Until then nothing is checked, and nothing has failed. */
  pinned: boolean;
  /** How many reflections there are to check, as far as is known by now. */
  total: number;
}

/**
 * Follows every reflection, or those of a user or a conversation, in the order of their ids. It reads page by page, so
 * any number of them takes the same memory. Options and configuration are checked before the first reflection.
 */
export function verifyAll(options: VerifyAllOptions, parts: CallParts): AsyncIterableIterator<VerifiedReflection> {
  return followAll(validate(verifyAllOptions, options, 'the options'), verifyParts(parts), parts);
}

async function* followAll(
  scope: z.output<typeof verifyAllOptions>,
  verifying: VerifyParts,
  parts: CallParts,
): AsyncIterableIterator<VerifiedReflection> {
  const total = await inReadTime(parts.longTerm.reflections.count(scope), parts);
  let done = 0;
  for (let after: string | null = null; ;) {
    const rows: ReflectionRow[] = await inReadTime(parts.longTerm.reflections.afterId(scope, after, PAGE), parts);
    for (const portion of portionsOf(rows, AT_ONCE)) {
      const followed = await Promise.all(portion.map((row) => followRow(row, verifying, parts)));
      for (const reflection of followed) if (reflection) yield { ...reflection, total: Math.max(total, (done += 1)) };
    }
    after = rows.at(-1)?.id ?? null;
    if (rows.length < PAGE) return;
  }
}

/**
 * Null for a reflection that was erased after its row was read. When a check fails, the reflection is followed once
 * more, because its row may have changed since then.
 */
async function followRow(
  row: ReflectionRow,
  verifying: VerifyParts,
  { longTerm }: CallParts,
): Promise<Omit<VerifiedReflection, 'total'> | null> {
  const first = await follow(row, verifying);
  if (first.ok) return first;
  const now = await longTerm.reflections.find({ id: row.id });
  return now && follow(now, verifying);
}

async function follow(row: ReflectionRow, verifying: VerifyParts): Promise<Omit<VerifiedReflection, 'total'>> {
  const { id, cid, context_id: contextId } = row;
  if (row.pinned_at === null) return { id, contextId, pinned: false, cid, ok: true, checks: [] };
  const longTerm = { memories: verifying.longTerm.memories, reflections: { find: async () => row } };
  return { id, contextId, pinned: true, ...(await verifyCid(cid, { ...verifying, longTerm })) };
}
