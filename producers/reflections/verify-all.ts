import { z } from 'zod';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { identifier } from '../../shared/identifiers.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { inReadTime } from '../reading/reading.ts';
import { type Verification, verifyCid, type VerifyParts, verifyParts } from './verify.ts';

/** Rows read at once. */
const PAGE = 200;
/** Reflections followed at once: each waits for IPFS and Supabase more than it computes. */
const AT_ONCE = 8;

/** Exported because docs/calls.md is made from it. @public */
export const verifyAllOptions = z.strictObject({ userId: identifier.optional(), contextId: identifier.optional() });
export type VerifyAllOptions = z.input<typeof verifyAllOptions>;

/** One reflection of all. */
export interface VerifiedReflection extends Verification {
  id: string;
  contextId: string;
  /** False while the pin is still to come: then nothing was checked, and nothing has failed. */
  pinned: boolean;
  /** How many there are, as far as is known by now. */
  total: number;
}

/**
 * Follows every reflection, or a user's or a conversation's, in the order of their ids; page by page, so any number takes
 * the same memory. Checks the options and the configuration before the first.
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
    for (let from = 0; from < rows.length; from += AT_ONCE) {
      const followed = await Promise.all(
        rows.slice(from, from + AT_ONCE).map((row) => followRow(row, verifying, parts)),
      );
      for (const reflection of followed) if (reflection) yield { ...reflection, total: Math.max(total, (done += 1)) };
    }
    after = rows.at(-1)?.id ?? null;
    if (rows.length < PAGE) return;
  }
}

/** Null for one that was erased since its row was read. What fails is looked at once more, for its row may be new by now. */
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
