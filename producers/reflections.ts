import { MAX_ROWS, type ReflectionRow } from '../shared/long-term.ts';
import { identifier, type Visibility } from '../shared/records.ts';
import { validate } from '../shared/validate.ts';
import type { Parts } from './parts.ts';
import { type Scope, userOf } from './reading.ts';

export interface Reflection {
  id: string;
  userId: string | null;
  cid: string;
  sha256: string;
  signature: string;
  visibility: Visibility;
  sourceIds: string[];
  /** Null while the pin is still to come; then `cid` is the one computed for it. */
  pinnedAt: string | null;
  createdAt: string;
}

/** Newest first, 1000 at most. */
export async function readReflections(contextId: string, options: Scope, { longTerm }: Parts): Promise<Reflection[]> {
  validate(identifier, contextId, 'contextId');
  return (await longTerm.reflections(contextId, MAX_ROWS, userOf(options))).map(toReflection);
}

function toReflection(row: ReflectionRow): Reflection {
  return {
    id: row.id,
    userId: row.user_id,
    cid: row.cid,
    sha256: row.sha256,
    signature: row.signature,
    visibility: row.visibility,
    sourceIds: row.source_ids,
    pinnedAt: row.pinned_at && new Date(row.pinned_at).toISOString(),
    createdAt: new Date(row.created_at).toISOString(),
  };
}
