import type { MemoryRecord } from '../shared/records.ts';
import type { Remembered } from '../shared/short-term.ts';
import { countTokens } from '../shared/tokens.ts';
import type { Parts } from './parts.ts';

/** Puts a record into short-term memory and counts it, once however often it is delivered. */
export async function remember(
  record: MemoryRecord,
  { shortTerm, metrics }: Pick<Parts, 'shortTerm' | 'metrics'>,
): Promise<Remembered> {
  const remembered = await shortTerm.remember(record);
  if (remembered.added) {
    metrics.recordsCached.inc({ module: record.module });
    metrics.tokens.inc({ module: record.module }, countTokens(record.tokens));
  }
  return remembered;
}
