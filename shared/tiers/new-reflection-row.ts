import type { ReflectionRow } from '../long-term/reflections.ts';
import type { ReflectionDocument } from '../pinning/reflection-document.ts';

/** What the row of a document knows beside the document itself. */
interface RowHead {
  cid: string;
  /** Where the reflection is filed. Imported knowledge may be filed elsewhere than its document says. */
  contextId: string;
  userId: string | null;
  wrappedKey: string | null;
  pinnedAt: string | null;
}

/** The row of `memory_reflections` that belongs to a document. */
export function newReflectionRow(
  doc: ReflectionDocument,
  { cid, contextId, userId, wrappedKey, pinnedAt }: RowHead,
): ReflectionRow {
  return {
    id: doc.id,
    context_id: contextId,
    user_id: userId,
    module: doc.type,
    cid,
    sha256: doc.sha256,
    signature: doc.signature,
    signing_kid: doc.signingKeyId,
    signing_key: doc.signingKey,
    wrapped_key: wrappedKey,
    visibility: doc.text === undefined ? 'private' : 'public',
    source_ids: doc.sourceIds,
    previous_cid: doc.previousCid ?? null,
    pinned_at: pinnedAt,
    created_at: doc.createdAt,
  };
}
