import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { digestOf, type ReflectionDocument, textOf } from '../../shared/pinning/reflection-document.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { decodeTokens, openTokens } from '../../shared/records/tokens.ts';
import type { Keyring } from '../../shared/secrets/keyring.ts';
import { toMoment } from '../../shared/moments.ts';

/** Whether a check holds, what was found, in words, and what the next checks need. */
export type CheckResult<T = never> = [ok: boolean, detail: string, found?: T];

/**
 * Whether the document was signed with a key of ours. Anybody can sign a document with a key of their own, so a
 * signature that holds says only that the document is unaltered. Knowledge may be imported, under the signature of its
 * author.
 */
export function checkKey(
  { signingKey, signingKeyId, type }: ReflectionDocument,
  ownKeys: ReadonlySet<string> | null,
): CheckResult {
  if (!ownKeys)
    return [true, 'not compared: neither MEMORY_SIGNING_KEY nor MEMORY_RETIRED_SIGNING_KEYS tells here which are ours'];
  if (ownKeys.has(signingKey)) return [true, `key ${signingKeyId} is ours`];
  return type === 'knowledge'
    ? [true, `key ${signingKeyId} is not one of ours: knowledge of another Mnemoq`]
    : [
        false,
        `key ${signingKeyId} is not one of ours: neither MEMORY_SIGNING_KEY nor MEMORY_RETIRED_SIGNING_KEYS has it`,
      ];
}

export function compareRow(
  doc: ReflectionDocument,
  cid: string,
  row: ReflectionRow | null,
): CheckResult<ReflectionRow> {
  if (!row) return [false, 'memory_reflections has no row with this CID'];
  const pairs: Pair[] = [
    ['id', row.id, doc.id],
    ['cid', row.cid, cid],
    ['sha256', row.sha256, doc.sha256],
    ['signature', row.signature, doc.signature],
    ['signing key', row.signing_key, doc.signingKey],
    ['signing key id', row.signing_kid, doc.signingKeyId],
    ['context', row.context_id, filedUnder(doc, row.context_id)],
    ['previous CID', row.previous_cid, doc.previousCid ?? null],
    ['module', row.module, doc.type],
    ['time', toMoment(row.created_at), doc.createdAt],
    ['sources', row.source_ids.join(), doc.sourceIds.join()],
    ['visibility', row.visibility, doc.text === undefined ? 'private' : 'public'],
  ];
  return agreement(pairs, row);
}

export function compareRecord(
  doc: ReflectionDocument,
  cid: string,
  record: MemoryRecord | null,
): CheckResult<MemoryRecord> {
  if (!record) return [false, 'memories has no row with this id'];
  const pairs: Pair[] = [
    ['cid', record.cid, cid],
    ['context', record.contextId, filedUnder(doc, record.contextId)],
    ['module', record.module, doc.type],
  ];
  return agreement(pairs, record);
}

/**
 * The conversation that the rows of a document must name. That is the document's own, but imported knowledge is filed
 * wherever its importer wants it.
 */
function filedUnder({ type, contextId }: ReflectionDocument, found: string): string {
  return type === 'knowledge' ? found : contextId;
}

type Pair = [name: string, ours: unknown, documents: unknown];

function agreement<T>(pairs: readonly Pair[], value: T): CheckResult<T> {
  const differing = pairs.filter(([, ours, documents]) => ours !== documents).map(([name]) => name);
  return differing.length === 0
    ? [true, 'agrees with the document', value]
    : [false, `differs in ${differing.join(', ')}`];
}

export function checkDigest(doc: ReflectionDocument, row: ReflectionRow, keyring: Keyring | null): CheckResult<string> {
  if (row.wrapped_key !== null && !keyring)
    return [false, 'MEMORY_ENCRYPTION_KEYS is needed to open a private reflection'];
  const key = row.wrapped_key === null || !keyring ? null : keyring.open(row.wrapped_key, `key:${row.id}`);
  const text = textOf(doc, key);
  if (text === null) return [false, 'the text cannot be opened'];
  const holds = digestOf(text, key) === doc.sha256;
  return holds ? [true, key ? 'HMAC-SHA-256' : 'SHA-256', text] : [false, 'the text has another digest'];
}

export function compareTokens(text: string, record: MemoryRecord, keyring: Keyring | null): CheckResult {
  const decoded = decodeTokens(openTokens(record.tokens, keyring, record.id));
  const same = 'text' in decoded && decoded.text === text;
  return [same, same ? 'decode to the text' : 'decode to another text'];
}
